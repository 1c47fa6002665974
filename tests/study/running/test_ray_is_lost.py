"""A driver whose Ray stops says so and ends; a trial that hangs is restarted and loses nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.torture.small_study import problems_of, values_of, write_study_file
from study.storage.directory import StudyDirectory

pytestmark = pytest.mark.slow


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A study whose first trial has begun."""
    folder = tmp_path / "studies"
    study_file = write_study_file(tmp_path)
    study_file.write_text(study_file.read_text(encoding="utf-8") + "trial_timeout: 60\n", encoding="utf-8")
    command = [sys.executable, "-m", "study.cli", "launch", str(study_file), "--name", "s", "--studies", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: (folder / "s" / "trials" / "baseline" / "epochs.jsonl").exists(), process)
        yield process
        process.kill()


def until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 400
    while not reached():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)


def stop_trial(process: subprocess.Popen[str]) -> psutil.Process:
    """Stop the process that trains, so that the study does not end before its driver has noticed anything."""
    training = next(process for process in below(process) if process.name().startswith("ray::ResourceTr"))
    training.suspend()
    return training


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_a_driver_whose_ray_stops_says_so_and_leaves_nothing_running(
    driver: subprocess.Popen[str], tmp_path: Path
) -> None:
    """Killed ones: `test_torture.py`. A process that is stopped is there, and says nothing."""
    started = below(driver)
    stop_trial(driver)
    next(process for process in started if process.name() == "gcs_server").suspend()
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 2
    sentence = said.splitlines()[-1]
    assert sentence.startswith("nt-study: Ray's head ") and " resume s --studies " in sentence
    assert "Traceback" not in said
    psutil.wait_procs(started, timeout=20)
    assert [process.name() for process in started if process.is_running()] == []
    assert StudyDirectory(tmp_path / "studies" / "s").owner() is None


def test_a_trial_that_hangs_is_ended_and_starts_again(driver: subprocess.Popen[str], tmp_path: Path) -> None:
    directory = StudyDirectory(tmp_path / "studies" / "s")
    until(lambda: (directory.trial("t000") / "epochs.jsonl").exists(), driver)
    hanging = stop_trial(driver)
    said, errors = driver.communicate(timeout=600)
    assert driver.returncode == 0, errors
    assert "it finished no epoch within trial_timeout, 60 s" in said
    assert not hanging.is_running()
    assert problems_of(directory, values_of(directory, [])) == []
