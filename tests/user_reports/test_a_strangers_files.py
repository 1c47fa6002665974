"""Files that a stranger hands over: pipes, links that lead out, weights cut short."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from written_study import write_study

from study.errors import StudyError
from study.export.reading import load_exported, read_config, score
from study.export.writing import export
from study.storage.directory import StudyDirectory, find
from study.storage.reading import read_object
from study.storage.records import keep_records
from study.tracking.trial_report import copy_files
from trainables.attacks.uap import load_perturbation
from trainables.config import BASELINE
from trainables.data.labels import read_csv
from trainables.data.workbook import read_sheet
from trainables.files import alone
from trainables.logs import LogFile
from trainables.models import create_model
from trainables.record import SCORES, WEIGHTS, read_scores
from trainables.trust import read_regular, read_weights

SECRET = "a private key"


@pytest.fixture
def study(tmp_path: Path) -> StudyDirectory:
    """A study whose baseline has weights, in a folder beside a private file."""
    (tmp_path / "private [ü]").write_text(SECRET)
    made = write_study(tmp_path / "studies", "theirs")
    torch.manual_seed(0)
    safetensors.torch.save_file(create_model("hyperiqa", "small").state_dict(), made.trial(BASELINE) / WEIGHTS)
    return made


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "photo.jpg")
    for place in (tmp_path / "photo.jpg", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"regular file|directory"):
            read_regular(place)


@pytest.mark.parametrize("name", ["optuna.db", ".locking", "lock", "logs/driver.log", "trials/t000/config.json"])
def test_a_study_with_a_pipe_is_refused_by_its_name(study: StudyDirectory, tmp_path: Path, name: str) -> None:
    place = study.path / name
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    os.mkfifo(tmp_path / "pipe")
    place.symlink_to(tmp_path / "pipe")
    with pytest.raises(StudyError, match=f"{re.escape(str(place))} is a pipe, a socket or a device"):
        find(study.path.parent, study.name)


READERS: dict[str, Callable[[Path], object]] = {
    "a universal perturbation": load_perturbation,
    "a workbook": read_sheet,
    "a table of ratings": read_csv,
    "a score table": read_scores,
    "a JSON file": read_object,
    "an export": lambda path: read_config(path.parent),
}


@pytest.mark.parametrize("what", READERS)
def test_nobody_waits_for_a_pipe(what: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises((ValueError, StudyError), match=r"config\.json cannot be read.*no regular file"):
        READERS[what](tmp_path / "config.json")


def test_a_pipe_among_the_images_has_no_score(study: StudyDirectory, tmp_path: Path) -> None:
    export(study, BASELINE, tmp_path / "model")
    os.mkfifo(tmp_path / "photo.jpg")
    (found,) = score(tmp_path / "model", [tmp_path / "photo.jpg"])
    assert found.score is None and "photo.jpg" in found.error and "no regular file" in found.error


def test_links_out_of_a_study_are_sent_and_copied_nowhere(study: StudyDirectory, tmp_path: Path) -> None:
    folder = study.trial("t000")
    (folder / "trial.log").symlink_to(tmp_path / "private [ü]")
    (tmp_path / "report").mkdir()
    copy_files(folder, tmp_path / "report")
    assert (tmp_path / "report" / SCORES).exists()
    assert not (tmp_path / "report" / "trial.log").exists()
    (folder / "epochs.jsonl").unlink()
    (folder / "epochs.jsonl").symlink_to(tmp_path / "private [ü]")
    with pytest.raises(StudyError, match="leads out of"):
        keep_records(study, tmp_path / "records")
    assert not any(SECRET in file.read_text(errors="ignore") for file in (tmp_path / "report").iterdir())
    weights = study.trial(BASELINE) / WEIGHTS
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StudyError, match="cannot be exported: leads out of"):
        export(study, BASELINE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_in_a_configuration_leads_nowhere(study: StudyDirectory, tmp_path: Path) -> None:
    config = study.read_json(f"trials/{BASELINE}/config.json")
    study.write_json(f"trials/{BASELINE}/config.json", config | {"trial": "../../escaped"})
    (made,) = export(study, BASELINE, tmp_path / "out")
    assert made.resolve().is_relative_to((tmp_path / "out").resolve())
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_weights_cut_short_are_not_taken_home(study: StudyDirectory, tmp_path: Path, share: float) -> None:
    weights = study.trial(BASELINE) / WEIGHTS
    whole = weights.read_bytes()
    export(study, BASELINE, tmp_path / "before")
    weights.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=f"{WEIGHTS} are damaged"):
        read_weights(weights)
    with pytest.raises(ValueError, match=f"{WEIGHTS} are damaged"):
        export(study, BASELINE, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "before" / WEIGHTS).write_bytes(weights.read_bytes())
    with pytest.raises(ValueError, match="is not the file that was exported"):
        load_exported(tmp_path / "before")


@pytest.mark.parametrize("name", [".locking", "stop", "optuna.db", "logs", "front", "trials/t009", "confirm"])
def test_nothing_is_written_through_a_link(study: StudyDirectory, tmp_path: Path, name: str) -> None:
    """`.locking` as a link to a thesis: a resume emptied the thesis."""
    place = study.path / name
    if place.is_dir():
        place.rename(tmp_path / "elsewhere")
    place.unlink(missing_ok=True)
    (tmp_path / "elsewhere").mkdir(exist_ok=True)
    thesis = tmp_path / "elsewhere" / "thesis"
    thesis.write_text("thesis")
    place.symlink_to(thesis if "." in name or name == "stop" else thesis.parent)
    with pytest.raises(StudyError, match=f"{re.escape(str(place))} is a link that leads out of the study"):
        find(study.path.parent, study.name)
    assert thesis.read_text() == "thesis"


def test_nobody_empties_or_lengthens_a_file_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("thesis")
    (tmp_path / "link").symlink_to(tmp_path / "thesis")
    with pytest.raises(OSError, match="symbolic link"), alone(tmp_path / "link"):
        pass
    handler = LogFile(tmp_path / "link")
    handler.emit(logging.makeLogRecord({"msg": "a line"}))
    handler.close()
    assert (tmp_path / "thesis").read_text() == "thesis"
