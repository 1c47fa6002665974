"""A few attacked test images of a trial, made again from its weights for figures to show."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import safetensors.torch
import torch

from analysis.figures.images import Example
from study.storage.directory import StudyDirectory
from trainables.attacks import create_attack
from trainables.config import trial_config_from_dict
from trainables.data import open_dataset
from trainables.models import create_model
from trainables.objectives import DEFAULT_ATTACK
from trainables.ssim import ssim
from trainables.views import image_views

if TYPE_CHECKING:
    from trainables.data.store import ImageStore

EXAMPLES = 3


def examples_of(directory: StudyDirectory, trial: str) -> list[Example]:
    """The probe's attack on the first views of `EXAMPLES` test images, from bad to good ones.

    ValueError where the study's images are not to be had.
    """
    config = trial_config_from_dict(directory.read_json(f"trials/{trial}/config.json"))
    model = create_model(config.model, size=config.size)
    model.load_state_dict(safetensors.torch.load_file(directory.weights(trial)))
    model.eval()
    rows = example_rows(directory.read_split())
    study_file = directory.read_study_file()
    store = _store_of(study_file.data, study_file.skip_unreadable)
    views = [
        image_views(store[index], model.input_spec, seed=config.seed, image=image)[:1]
        for index, image in zip(rows["index"], rows["image"], strict=True)
    ]
    clean = torch.cat(views).float() / 255
    attacked = create_attack(**config.attacks[DEFAULT_ATTACK])(model, clean).detach()
    with torch.no_grad():
        before, after = model(clean), model(attacked)
    similarity = ssim(clean, attacked)
    return [
        Example(
            name=str(image),
            clean=_picture(clean[row]),
            attacked=_picture(attacked[row]),
            clean_score=float(before[row]),
            attacked_score=float(after[row]),
            ssim=float(similarity[row]),
        )
        for row, image in enumerate(rows["image"])
    ]


def example_rows(split: pd.DataFrame) -> pd.DataFrame:
    """Test images at evenly spaced ranks of MOS, neither the very worst nor the very best."""
    test = split[split["split"] == "test"].sort_values(["mos", "image"])
    ranks = (np.arange(1, EXAMPLES + 1) / (EXAMPLES + 1) * len(test)).astype(int)
    return test.iloc[sorted(set(ranks.tolist()))]


@lru_cache(maxsize=1)
def _store_of(data: str, skip_unreadable: bool) -> ImageStore:
    # Opened as the trials do: with another option the whole set would be decoded once more.
    return open_dataset(data, skip_unreadable=skip_unreadable).store


def _picture(image: torch.Tensor) -> np.ndarray:
    """(3, H, W) -> (H, W, 3)"""
    return image.permute(1, 2, 0).numpy()
