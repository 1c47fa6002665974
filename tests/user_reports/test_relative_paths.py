"""Paths are relative to the folder in which the command is given, in options, study files and presets alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from release_fixtures import write_manifest

from search_spaces.schema import StudyFile, load_study_file
from study.cluster.submit import job_environment
from study.errors import StudyError
from study.storage.directory import create
from study.storage.frozen import check_unchanged
from study.tracking.store import store_uri
from trainables.data import LABEL_READERS, open_dataset
from trainables.files import PLACE


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is not the repository, in which commands are given."""
    folder = tmp_path / "my photos [ü]"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def launched(**keys: Any) -> StudyFile:
    return load_study_file("hyperiqa", preset="smoke", overrides=keys)


@pytest.mark.parametrize("name", LABEL_READERS)
def test_the_data_of_every_kind(name: str, here: Path) -> None:
    assert launched(data=f"{name}:set/x").data == f"{name}:{here}/set/x"
    assert launched(data=f"{name}:~/x").data == f"{name}:{Path.home()}/x"
    with pytest.raises(ValueError, match=re.escape(f"{here}/nowhere")):
        open_dataset(f"{name}:nowhere")


def test_what_presets_and_study_files_name(here: Path, tmp_path: Path) -> None:
    assert load_study_file("hyperiqa", preset="paper").data == f"livec:{here}/ChallengeDB_release"
    (tmp_path / "mine.yaml").write_text(
        "baseline: hyperiqa\npreset: smoke\ndata: csv:set/ok.csv\nstorage: sqlite:///search.db\n"
        "recipe: {weights: w.pth}\nsuite: {uap: {name: uap, perturbation: u.png}, kor: {name: kor, surrogate: s}}\n",
        encoding="utf-8",
    )
    study_file = load_study_file("../mine.yaml")
    assert study_file.data == f"csv:{here}/set/ok.csv"
    assert study_file.storage == f"sqlite:///{here}/search.db"
    assert study_file.recipe.weights == f"{here}/w.pth"
    assert study_file.suite["uap"]["perturbation"] == f"{here}/u.png"
    assert study_file.suite["kor"]["surrogate"] == f"{here}/s"
    (tmp_path / "frozen.yaml").write_text(study_file.to_yaml(), encoding="utf-8")
    assert load_study_file("../frozen.yaml") == study_file


def test_a_table_below_that_folder_opens_from_any_other(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(here / "set", pd.DataFrame({"image": ["a (1).png", "ö.png"], "mos": [1, 2]}))
    spec = launched(data="csv:set/manifest.csv").data
    monkeypatch.chdir("/")
    assert len(open_dataset(spec, cache_dir=here / "cache").table) == 2


def test_the_store_of_mlflow(here: Path) -> None:
    assert store_uri(Path("studies"), "sqlite:///mlflow.db") == f"sqlite:///{here}/mlflow.db"
    assert store_uri(Path("studies"), "http://host:5000") == "http://host:5000"


def test_through_a_dashboard_they_begin_in_the_folder_of_the_command(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = job_environment()["env_vars"][PLACE]
    monkeypatch.chdir("/")  # the job runs in a folder of its own
    monkeypatch.setenv(PLACE, place)
    assert launched(data="csv:set/ok.csv").data == f"csv:{here}/set/ok.csv"


def test_a_relative_path_written_into_a_frozen_study_is_refused(here: Path) -> None:
    study_file = launched(data="photos:small")
    directory = create(here / "studies", "mine", study_file)
    directory.write_study_file(study_file.model_copy(update={"data": "csv:set/ok.csv"}))
    with pytest.raises(StudyError, match=r"study\.yaml is relative; write whole paths"):
        check_unchanged(directory)
