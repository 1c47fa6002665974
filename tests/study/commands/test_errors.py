"""Mistakes at launch: one sentence, a non-zero exit, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from search_spaces.schema import load_study_file
from study.cli import main
from study.errors import StudyError
from study.storage.directory import StudyDirectory, create

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Runs the command line in this process, expects it to fail and returns what it said."""
    monkeypatch.setattr(sys, "argv", ["nt-study", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code not in (0, None)
    said = capsys.readouterr().err.strip()
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["hyperqia"], "did you mean 'hyperiqa'"),
        (["hyperiqa", "--lam", "1e-3:1e-6"], "low must be below high"),
        (["hyperiqa", "--lam", "0:1e-3"], "low above 0"),
        (["hyperiqa", "--lam", "much"], "--lam 'much' is not a range"),
        (["hyperiqa", "--data", "photoz"], "photos"),
        (["hyperiqa", "--data", "csv:/nowhere/manifest.csv"], "/nowhere/manifest.csv"),
        (["hyperiqa", "--preset", "dmo"], "did you mean 'demo'"),
        (["hyperiqa", "--size", "huge"], "unknown size 'huge'"),
        (["hyperiqa", "--trials", "0"], "trials: "),
        (["dbcnn", "--weights", "/nowhere/scnn.pkl"], "cannot read the weights at /nowhere/scnn.pkl"),
        (["dbcnn", "--weights", __file__], "is no checkpoint that can be loaded safely"),
        (["hyperiqa", "--name", "a/b"], "cannot name a study"),
        (["missing.yaml"], "there is no study file missing.yaml"),
    ],
)
def test_a_wrong_launch_says_why_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    sentence: str,
) -> None:
    said = fails(monkeypatch, capsys, "launch", *arguments, "--studies", tmp_path)
    assert sentence in said
    assert said.count("\n") == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_trial_larger_than_the_machine_is_refused(tmp_path: Path, nt_study: Command) -> None:
    """In a process of its own, which takes the Ray that it had to start along when it ends."""
    file = tmp_path / "large.yaml"
    file.write_text("baseline: hyperiqa\npreset: smoke\nresources_per_trial: {cpu: 1000}\n", encoding="utf-8")
    ran = nt_study("launch", file, "--studies", tmp_path / "studies")
    assert ran.returncode == 2
    assert "one trial asks for 1000 CPU" in ran.stderr and "Traceback" not in ran.stderr
    assert not (tmp_path / "studies").exists()


def test_a_folder_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file, where a folder is needed", encoding="utf-8")
    said = fails(monkeypatch, capsys, "launch", "hyperiqa", "--preset", "smoke", "--studies", blocked)
    assert "cannot write to" in said


@pytest.mark.parametrize("command", ["resume", "status", "front", "export"])
def test_an_unknown_study_is_named_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], smoke_study: StudyDirectory, command: str
) -> None:
    more = ("--out", smoke_study.path.parent / "out") if command == "export" else ()
    said = fails(monkeypatch, capsys, command, "smokey", *more, "--studies", smoke_study.path.parent)
    assert "did you mean 'smoke'" in said


def test_a_study_that_another_process_runs_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    directory = create(tmp_path, "busy", load_study_file("hyperiqa", preset="smoke"))
    with directory.locked(), pytest.raises(StudyError, match=f"process {os.getpid()}"), directory.locked():
        pass
    assert directory.owner() is None
