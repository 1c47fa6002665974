"""A damaged `photo (1).jpg` with --skip-unreadable: MLflow refused its name as a parameter, and the record stayed
incomplete for good."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_param_name
from written_study import write_study

from study.tracking.projection import STUDY, storable
from study.tracking.tracker import open_for_reading, store_of, sync
from trainables.names import as_file_name, as_key, original
from trainables.record import SCORES, read_scores, write_scores

NAMES = [
    "photo (1).jpg",
    "Größe [ü] & 50%.png",
    "../up.jpg",
    "/root",
    "a//b",
    "a/./b",
    ".",
    "..",
    "a/",
    "_x0028_",
    "_x",
]
NAMES += ["line\nbreak", "tab\t", "'quotes\"`", "emoji 🙂", "bytes \udcff", "x" * 300, "$HOME", "a\\b", ""]


@pytest.mark.parametrize("name", NAMES)
def test_a_key_is_taken_and_tells_the_name(name: str) -> None:
    _validate_param_name(as_key(f"data.left_out.{name}"))
    if name and len(name) < 200:
        _validate_param_name(as_key(name))
        assert original(as_key(name)) == name
        assert original(as_file_name(name)) == name
    assert "/" not in as_file_name(name) and not as_file_name(name).startswith(".")


def test_two_names_never_become_one() -> None:
    generator = np.random.default_rng(0)
    letters = np.array(list("_x0028()./" + string.ascii_uppercase[:6]))
    names = {"".join(generator.choice(letters, generator.integers(1, 16))) for _ in range(5000)}
    assert {original(as_key(name)) for name in names} == names == {original(as_file_name(name)) for name in names}


def test_the_record_of_such_a_study_completes_with_sync(tmp_path: Path) -> None:
    directory = write_study(tmp_path, "own", ends=("complete",))
    environment = directory.read_json("environment.json")
    left_out = dict.fromkeys(NAMES, "cannot be decoded: \udcff\0")
    environment["data"]["left_out"] = {
        name: storable(reason) for name, reason in left_out.items() if "\udcff" not in name
    }
    directory.write_json("environment.json", environment)
    folder = directory.trial("t000")
    scores = read_scores(folder / SCORES)
    extra = scores[scores["attack"] == "noise"].assign(attack="noise (strong) & more")
    write_scores(folder / SCORES, pd.concat([scores, extra], ignore_index=True), {})
    try:
        assert sync(directory) == 2
        projection = open_for_reading(directory, store_of(directory, None))
    except MlflowException as error:
        pytest.fail(str(error))
    params = projection.runs[STUDY].data.params
    assert {original(name) for name in params} >= {"data.left_out.photo (1).jpg", "data.left_out.../up.jpg"}
    metrics = projection.runs["t000"].data.metrics
    assert "validation/rmse_attacked/noise (strong) & more" in {original(name) for name in metrics}
