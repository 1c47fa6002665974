"""`cp a.png b.png; nt-study score K a.png b.png` gave 54.1 and 51.2: views were cut by the file's name."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from study.export.reading import load_exported, score
from study.storage.directory import StudyDirectory
from trainables.attacks import create_attack
from trainables.evaluate import evaluate
from trainables.record import read_scores, write_scores
from trainables.views import image_views

PIXELS = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
"""Larger than the model's view, so that where it is cut matters."""
CLOSE = 1e-5
"""Relative: a batch's size changes single precision's last digits."""


@pytest.fixture
def copies(tmp_path: Path) -> list[Path]:
    other = tmp_path / "Fotos (übrige) [2]"
    other.mkdir()
    places = [tmp_path / "a.png", tmp_path / "b.png", other / "a b.png"]
    Image.fromarray(PIXELS).save(places[0])
    for place in places[1:]:
        shutil.copy(places[0], place)
    return places


def test_scored_as_files(knee: Path, copies: list[Path], nt: Callable[..., tuple[int, str, str]]) -> None:
    code, said, error = nt("score", knee, *copies)
    assert code == 0, error
    found = {row["score"] for row in csv.DictReader(io.StringIO(said))}
    assert len(found) == 1
    assert found == {str(one.score) for one in score(knee, reversed(copies))}


def test_scored_by_mlflow_as_files_and_arrays(knee: Path, copies: list[Path]) -> None:
    from mlflow.pyfunc import PythonModelContext

    from study.tracking.pyfunc_model import QualityModel

    model = QualityModel()
    model.load_context(PythonModelContext({"export": str(knee)}, {}))
    expected = score(knee, copies[:1])[0].score
    noise = np.random.default_rng(1).integers(0, 256, PIXELS.shape, dtype=np.uint8)
    assert model.predict(None, [str(place) for place in copies]) == [expected] * 3
    assert model.predict(None, [noise, PIXELS, noise, PIXELS / 255])[1::2] == [expected] * 2


def test_evaluated_in_any_row(knee: Path, copies: list[Path]) -> None:
    """Clean, attacked and in a study's record: the row and the name say nothing."""
    model = load_exported(knee)
    noise = np.random.default_rng(1).integers(0, 256, PIXELS.shape, dtype=np.uint8)
    rows = pd.DataFrame({"index": range(4), "image": list("dcba"), "content": "x", "split": "test", "mos": 50.0})
    table = evaluate(model, [PIXELS, noise, PIXELS, PIXELS], rows, {"fgsm": create_attack("fgsm")}, batch_size=3)
    same = table[table["image"] != "c"]
    assert list(same["clean_score"]) == pytest.approx([score(knee, copies[:1])[0].score] * 3, rel=CLOSE)
    np.testing.assert_allclose(same["attacked_score"], same["attacked_score"].iloc[0], rtol=CLOSE)


def test_an_export_from_before_keeps_its_rule(knee: Path, copies: list[Path], tmp_path: Path) -> None:
    """Its study's tables were made so, and its numbers can be had again under the names that they have there."""
    old = tmp_path / "old"
    shutil.copytree(knee, old)
    config = json.loads((old / "config.json").read_text(encoding="utf-8"))
    del config["input"]["views"]
    (old / "config.json").write_text(json.dumps(config | {"version": 1}), encoding="utf-8")
    model = load_exported(old)
    assert model.input_spec.names_seed == config["seed"]
    first, second, _ = (one.score for one in score(old, copies))
    assert first != second
    with torch.no_grad():
        own = model(image_views(PIXELS, model.input_spec, image="a.png").float() / 255).mean()
    assert first == pytest.approx(float(own), rel=CLOSE)


def test_tables_say_which_rule_they_follow(tmp_path: Path, weighted_study: StudyDirectory) -> None:
    assert weighted_study.read_study_file().views == "grid"
    records = Path(__file__).parent.parent.parent / "docs" / "results" / "records"
    old = next(records.rglob("scores.parquet"))
    assert read_scores(old).attrs["views"] == "by_name"
    metadata = {str(key): str(value) for key, value in read_scores(old).attrs.items()}
    write_scores(tmp_path / "scores.parquet", read_scores(old), metadata)
    assert read_scores(tmp_path / "scores.parquet").attrs == metadata
