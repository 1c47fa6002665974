"""The database held by another process, the study's folder deleted in mid-run: one sentence, and nothing comes back."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import optuna
import pytest
from rich.console import Console

from search_spaces.schema import load_study_file
from study.errors import StudyError
from study.running.run import _trouble_explained, run
from study.search import durable
from study.storage.directory import StudyDirectory, create
from trainables.config import BASELINE
from trainables.files import write_atomically


@pytest.fixture
def study(tmp_path: Path) -> StudyDirectory:
    return create(tmp_path, "s", load_study_file("hyperiqa", preset="smoke"))


def open_quickly(directory: StudyDirectory) -> optuna.Study:
    """The study's Optuna study over a connection that waits for nobody."""
    storage = optuna.storages.RDBStorage(directory.optuna_url, engine_kwargs={"connect_args": {"timeout": 0}})
    return optuna.load_study(study_name=directory.name, storage=storage)


def test_a_database_that_another_process_holds(study: StudyDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    study_file = study.read_study_file()
    durable.open_optuna(study, study_file)
    search = durable.DurableSearch(study, study_file, open_quickly(study))
    search.suggest("baseline")
    study.write_result(BASELINE, "pruned")
    search.on_trial_complete("baseline")
    other = sqlite3.connect(study.path / "optuna.db")
    other.execute("BEGIN EXCLUSIVE")
    assert search.suggest("next") is None
    assert search.broken == "another process holds the search's database (it is locked)"
    with pytest.raises(StudyError, match=r"cannot be used: another process holds.*resume s"), _trouble_explained(study):
        durable.DurableSearch(study, study_file, open_quickly(study))
    monkeypatch.setattr(durable, "open_optuna", lambda directory, _: open_quickly(directory))
    with pytest.raises(StudyError, match=r"another process holds.*resume s"):
        run(study, Console())
    other.close()
    assert study.owner() is None


def test_nothing_of_a_deleted_study_comes_back(study: StudyDirectory) -> None:
    study_file = study.read_study_file()
    search = durable.DurableSearch(study, study_file, durable.open_optuna(study, study_file))
    assert search.suggest("ray") == {"trial": BASELINE, "point": {}}
    shutil.rmtree(study.path)
    search.on_trial_complete("ray", error=True)
    assert search.broken is not None and search.is_over
    for relative in ("trials/t001/checkpoint.pt", "front/front.json"):
        with pytest.raises(FileNotFoundError):
            write_atomically(study.path / relative, b"of a worker that has not heard of it")
    for write in (lambda: study.write_json("mlflow.json", {}), lambda: study.write_study_file(study_file)):
        with pytest.raises(StudyError, match="was deleted; nothing more is written"):
            write()
    with pytest.raises(StudyError, match=r"folder of study 's'.*was deleted"), _trouble_explained(study):
        raise FileNotFoundError(2, "No such file or directory", str(study.path / "trials"))
    assert not study.path.exists()
