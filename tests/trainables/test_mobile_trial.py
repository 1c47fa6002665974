"""The recipe of the preset `laptop`, on photographs of any size, from weights that are at hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from release_fixtures import write_image, write_manifest
from safetensors.torch import load_file
from torchvision.models import mobilenet_v2

from search_spaces.schema import load_study_file
from trainables.config import BASELINE
from trainables.data import open_dataset
from trainables.data.split import MosScale
from trainables.models import imagenet
from trainables.record import START_WEIGHTS, WEIGHTS
from trainables.trial import Trial, run_trial

SIZES = [(40, 60), (64, 64), (224, 224), (300, 200), (225, 400), (90, 500)]
PARTS = ["train"] * 3 + ["validation", "test"] + ["train"]


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Weights in the place of ImageNet's."""
    torch.manual_seed(0)
    state = mobilenet_v2().state_dict()
    path = tmp_path / "torch" / "hub" / "checkpoints" / "mobilenet_v2-b0353104.pth"
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(imagenet, "_require_hash", lambda path: None)
    return state


@pytest.mark.parametrize("name", ["hyperiqa", "dbcnn", "linearityiqa", "maniqa"])
def test_a_baseline_and_a_trial_after_it(name: str, cached: dict[str, torch.Tensor], tmp_path: Path) -> None:
    names = [f"bild ({number}) ä.png" for number in range(len(SIZES))]
    for number, (image, (height, width)) in enumerate(zip(names, SIZES, strict=True)):
        write_image(tmp_path / "set" / image, number, height, width)
    table = pd.DataFrame({"image": names, "mos": [1.0, 5, 3, 2, 4, 4.5], "split": PARTS})
    images = open_dataset(f"csv:{write_manifest(tmp_path / 'set', table)}", cache_dir=tmp_path / "cache")
    rows = images.table.assign(index=np.arange(len(images.table)))
    rows["mos"] = MosScale.of_training(rows).normalise(rows["mos"].to_numpy())
    study_file = load_study_file(name, preset="laptop", overrides={"data": images.spec})
    short = [dataclasses.replace(stage, epochs=1) for stage in study_file.recipe.stages]
    recipe = dataclasses.replace(study_file.recipe, stages=tuple(short))
    study_file = study_file.model_copy(update={"recipe": recipe})

    folder = tmp_path / BASELINE
    trial = Trial(study_file.trial_config(BASELINE, {}), images.store, rows, folder)
    begins = trial.training.model.state_dict().values()
    assert any(torch.equal(value, cached["features.0.0.weight"]) for value in begins)
    run_trial(trial)
    point = {"lam": study_file.first_points[0]["lam"], "step_size": 0.01}
    trial = Trial(study_file.trial_config("t000", point), images.store, rows, tmp_path / "t000", start=folder)
    start = load_file(folder / START_WEIGHTS)
    assert all(torch.equal(value, start[key]) for key, value in trial.training.model.state_dict().items())
    scores = run_trial(trial)
    assert set(scores["attack"]) == {"fgsm", "noise"} and np.isfinite(scores["clean_score"]).all()
    assert load_file(tmp_path / "t000" / WEIGHTS).keys() == load_file(folder / WEIGHTS).keys()
