"""A chosen model trained once more, validation images among those that train; nothing is chosen, test images judge."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml
from command_line import run_here
from written_study import write_study

from benchmarks.torture.small_study import write_study_file
from study.errors import StudyError
from study.export.reading import load_exported
from study.export.seen import seen_by
from study.looking.front_files import front_of
from study.repeating.refit import refit_config, refit_study, refitted
from study.storage.directory import StudyDirectory
from study.storage.whole import MADE, others_file
from trainables.config import BASELINE
from trainables.record import SCORES, read_scores

Command = Callable[..., tuple[int, str, str]]
Process = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def nt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return partial(run_here, monkeypatch, capsys)


def test_validation_images_train_and_test_images_stay(tmp_path: Path) -> None:
    directory = write_study(tmp_path)
    place = refit_study(directory)
    before, after = directory.read_split(), place.read_split()
    assert set(after["split"]) == {"train", "test"}
    assert after[after["split"] == "test"].equals(before[before["split"] == "test"])
    assert after["mos"].equals(before["mos"]), "on the scale that λ was chosen on"
    assert place.read_json("environment.json")["data"]["images"] == {"train": 12, "test": 12}
    assert others_file(directory.path, MADE) is None, "a study's folder may hold it"


def test_everything_else_is_as_validation_chose_it(tmp_path: Path) -> None:
    directory = write_study(tmp_path)
    chosen = refit_config(directory, "t001")
    own = directory.read_json("trials/t001/config.json")
    assert (chosen.lam, chosen.step_size, chosen.seed) == (own["lam"], own["step_size"], own["seed"])
    assert chosen.refit == (1,), "this recipe ships the last epoch of its only stage"


def test_what_has_not_been_trained_so_is_one_sentence(tmp_path: Path, nt: Command) -> None:
    directory = write_study(tmp_path, ends=("complete", "failed"))
    with pytest.raises(StudyError, match="validation has not chosen yet"):
        refit_config(directory, "t001")
    code, _, said = nt("export", directory.name, "--refit", "--out", tmp_path / "out", "--studies", tmp_path)
    knee = front_of(directory).knee.trial
    assert code == 2 and f"trial {knee} has not been trained on training and validation images together" in said
    assert f"nt-study refit {directory.name} --pick {knee}" in said and not (tmp_path / "out").exists()
    code, _, said = nt("export", directory.name, "--refit", "--at", "srocc>=0", "--out", "x", "--studies", tmp_path)
    assert code == 2 and "--at mixes models" in said


@pytest.mark.slow
def test_a_model_is_refitted_and_exported(tmp_path: Path, nt_study: Process) -> None:
    path = write_study_file(tmp_path)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    points = content["first_points"][:1]
    path.write_text(yaml.safe_dump(content | {"trials": 1, "first_points": points}), encoding="utf-8")
    where = ("--studies", tmp_path)
    assert nt_study("launch", path, "--name", "small", *where).returncode == 0
    ran = nt_study("refit", "small", "--pick", "t000", *where)
    assert ran.returncode == 0 and "t000" in ran.stdout and BASELINE in ran.stdout, ran.stdout + ran.stderr
    directory = StudyDirectory(tmp_path / "small")
    place = refitted(directory, "t000")
    own, scores = (read_scores(of.trial("t000") / SCORES) for of in (directory, place))
    assert set(scores["split"]) == {"test"} and set(scores["image"]) == set(own.loc[own["split"] == "test", "image"])
    written = {file: file.stat().st_mtime_ns for file in place.trials.rglob(SCORES)}
    assert nt_study("refit", "small", "--pick", "t000", *where).returncode == 0
    assert {file: file.stat().st_mtime_ns for file in written} == written, "what is finished is not trained again"

    ran = nt_study("export", "small", "--pick", "t000", "--refit", "--out", tmp_path / "final", *where)
    assert ran.returncode == 0, ran.stderr
    card = (tmp_path / "final" / "README.md").read_text(encoding="utf-8")
    assert "trained on training and validation images together" in card and "validation this model" not in card
    metrics = json.loads((tmp_path / "final" / "metrics.json").read_text(encoding="utf-8"))
    assert set(metrics["model"]) == set(metrics["baseline"]) == {"trial", "test"}
    load_exported(tmp_path / "final")
    seen = seen_by(tmp_path / "final")
    assert seen is not None and set(seen.split["split"]) == {"train", "test"}
