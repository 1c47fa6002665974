"""A launch by a relative path with a damaged `photo (1).jpg` left out, and its resume from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from release_fixtures import write_image, write_manifest

from search_spaces.schema import load_study_file
from study.storage.directory import StudyDirectory
from study.storage.summaries import summarise
from study.tracking.projection import STUDY
from study.tracking.tracker import open_for_reading, store_of
from trainables.names import original

IMAGES = 40


def nt_study(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, given in `folder`."""
    command = [sys.executable, "-m", "study.cli", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.slow
def test_its_record_completes_and_it_goes_on_from_anywhere(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "my photos [ü]", tmp_path / "elsewhere"
    elsewhere.mkdir()
    names = [f"photo ({number}).jpg" for number in range(IMAGES)]
    for number, name in enumerate(names):
        write_image(home / "set" / name, number, 64, 64)
    (home / "set" / names[1]).write_bytes((home / "set" / names[1]).read_bytes()[:300])
    write_manifest(home / "set", pd.DataFrame({"image": names, "mos": np.arange(IMAGES)}))

    options = ("--trials", "1", "--name", "own", "--skip-unreadable", "--sampler", "random")
    ran = nt_study("launch", "hyperiqa", "--preset", "smoke", "--data", "csv:set/manifest.csv", *options, folder=home)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    directory = StudyDirectory(home / "studies" / "own")
    assert directory.read_study_file().data == f"csv:{home}/set/manifest.csv"

    ran = nt_study("resume", "own", "--trials", "+1", "--studies", "../my photos [ü]/studies", folder=elsewhere)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [trial.state for trial in summarise(directory)] == ["complete"] * 3
    assert list(elsewhere.iterdir()) == []

    runs = open_for_reading(directory, store_of(directory, None)).runs
    assert len(runs) == 4 and {run.info.status for run in runs.values()} == {"FINISHED"}
    left_out = {original(name): value for name, value in runs[STUDY].data.params.items()}
    assert names[1] in left_out[f"data.left_out.{names[1]}"]
    assert load_study_file(str(directory.path / "study.yaml")) == directory.read_study_file()
