"""A trial whose data or values are at fault fails once, and nothing starts once the baseline has failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.tune.search import Searcher
from written_study import write_study

from study.running.actor import FAILED, is_permanent
from study.search.durable import DurableSearch, open_optuna
from study.storage.directory import StudyDirectory
from trainables.train import DivergedError


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (ValueError("a.jpg is too small"), True),
        (KeyError("mos"), True),
        (TypeError("no number"), True),
        (DivergedError("the loss became nan"), True),
        (caused(ValueError("weights cannot be read"), FileNotFoundError("no such file")), True),
        (caused(ValueError("a.jpg cannot be read any more"), OSError(5, "Input/output error")), False),
        (RuntimeError("CUDA out of memory"), False),
        (OSError(28, "No space left on device"), False),
        (MemoryError(), False),
    ],
)
def test_which_errors_those_are(error: Exception, permanent: bool) -> None:
    assert is_permanent(error) is permanent


def search_of(directory: StudyDirectory) -> DurableSearch:
    study_file = directory.read_study_file()
    # Trials that begin by themselves do not wait for the baseline.
    recipe = {"stages": [{"name": "train", "epochs": 1, "lr": 1e-3}], "init": "scratch"}
    changed = study_file.model_validate({**study_file.model_dump(), "recipe": recipe})
    return DurableSearch(directory, changed, open_optuna(directory, changed))


def test_a_trial_that_says_so_is_failed_with_its_reason(tmp_path: Path) -> None:
    directory = write_study(tmp_path, ends=())
    search = search_of(directory)
    assert search.suggest("a") is not None
    search.on_trial_complete("a", {"done": True, FAILED: "ValueError: a.jpg is too small"})
    assert directory.read_json("trials/t000/result.json")["reason"] == "ValueError: a.jpg is too small"


def test_nothing_starts_once_the_baseline_has_failed(tmp_path: Path) -> None:
    search = search_of(write_study(tmp_path, baseline="", ends=()))
    first, second = search.suggest("a"), search.suggest("b")
    assert isinstance(first, dict) and first["trial"] == "baseline"
    assert isinstance(second, dict) and second["trial"] == "t000"
    search.on_trial_complete("a", {"done": True, FAILED: "ValueError: no weights"})
    assert search.suggest("c") == Searcher.FINISHED
    assert search.is_over and search.baseline_error == "ValueError: no weights"
