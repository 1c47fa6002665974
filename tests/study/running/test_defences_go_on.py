"""A study of every other defence than NT is killed while it trains, and goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from benchmarks.torture.small_study import EPOCHS, write_study_file
from study.storage.directory import StudyDirectory
from study.storage.summaries import summarise
from trainables.config import BASELINE
from trainables.defences import DEFENCES

SECONDS = 600
"""Far more than a study of one trial takes."""


@pytest.mark.slow
@pytest.mark.parametrize("defence", [name for name in DEFENCES if name != "nt"])
def test_a_killed_study_of_a_defence_goes_on_where_it_was(defence: str, tmp_path: Path) -> None:
    path = write_study_file(tmp_path)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    del content["first_points"]  # the defence has its own
    path.write_text(yaml.safe_dump(content | {"trials": 1}), encoding="utf-8")
    program = [sys.executable, "-m", "study.cli"]
    launch = ["launch", path, "--defence", defence, "--name", defence, "--studies", tmp_path]
    directory = StudyDirectory(tmp_path / defence)
    trained = directory.trial("t000") / "epochs.jsonl"

    said = tmp_path / "output.txt"  # a pipe would be held open by what outlives the driver
    with (
        said.open("w") as output,
        subprocess.Popen([*program, *map(str, launch)], stdout=output, stderr=subprocess.STDOUT) as driver,
    ):
        deadline = time.monotonic() + SECONDS
        while not trained.exists():
            assert driver.poll() is None and time.monotonic() < deadline, said.read_text()
            time.sleep(0.02)
        driver.kill()
    finished = directory.trial(BASELINE) / "scores.parquet"
    stamp = finished.stat().st_mtime_ns
    resume = [*program, "resume", defence, "--studies", str(tmp_path)]
    ran = subprocess.run(resume, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr

    assert [trial.state for trial in summarise(directory)] == ["complete"] * 2
    assert finished.stat().st_mtime_ns == stamp, "the baseline is not run again"
    rows = [json.loads(row) for row in trained.read_text(encoding="utf-8").splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1)), "each epoch once"
    starts = (directory.trial("t000") / "starts.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(start)["epochs_before"] >= 1 for start in starts] == [False, True]
    config = json.loads((directory.trial("t000") / "config.json").read_text(encoding="utf-8"))
    assert config["recipe"]["defence"] == defence
