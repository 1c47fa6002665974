"""Early stopping in a real study, one of whose trials' process is killed as the kernel does when memory runs out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import psutil
import pytest
import yaml

from benchmarks.torture.small_study import write_study_file
from study.storage.directory import StudyDirectory
from study.storage.summaries import summarise

EPOCHS = 4
RUNGS = (1, 2)
POINTS = [
    {"lam": lam, "step_size": 0.01, "lr": lr} for lam, lr in ((1e-4, 1e-3), (1e-3, 1e-3), (1e-5, 1e-6), (1e-4, 1e-6))
]


def epochs_of(folder: Path) -> list[int]:
    path = folder / "epochs.jsonl"
    return [json.loads(row)["epoch"] for row in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def kill_a_trial(driver: psutil.Process, directory: StudyDirectory) -> str:
    """End the process of an NT trial in the middle of its training; returns the trial's name."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        for folder in directory.trials.glob("t*"):
            if 1 <= len(epochs_of(folder)) < EPOCHS and not (folder / "result.json").exists():
                for process in driver.children(recursive=True):
                    if process.name().startswith("ray::Resource"):
                        process.kill()
                        return folder.name
        time.sleep(0.02)
    raise AssertionError("no trial was seen in the middle of its training")


@pytest.mark.slow
def test_dominated_trials_stop_early_and_a_killed_one_goes_on(tmp_path: Path) -> None:
    study_file = write_study_file(tmp_path)
    content = yaml.safe_load(study_file.read_text(encoding="utf-8"))
    content["recipe"]["stages"][-1]["epochs"] = EPOCHS
    content |= {
        "trials": len(POINTS),
        "first_points": POINTS,
        "space": {"lr": {"low": 1e-7, "high": 1e-2, "log": True}},
        "scheduler": {"name": "pareto_asha", "reduction_factor": 2},
        "max_concurrent": 1,
    }
    study_file.write_text(yaml.safe_dump(content), encoding="utf-8")
    directory = StudyDirectory(tmp_path / "studies" / "early")
    command = ["launch", str(study_file), "--name", "early", "--studies", str(directory.path.parent)]
    running = subprocess.Popen(
        [sys.executable, "-m", "study.cli", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    killed = kill_a_trial(psutil.Process(running.pid), directory)
    output, _ = running.communicate(timeout=240)
    assert running.returncode == 0, output

    trials = {trial.trial: trial for trial in summarise(directory)}
    states = Counter(trial.state for trial in trials.values())
    assert states["complete"] + states["pruned"] == 1 + len(POINTS)
    assert trials["baseline"].state == "complete"
    assert states["pruned"] >= 1
    starts = (directory.trial(killed) / "starts.jsonl").read_text(encoding="utf-8").splitlines()
    assert next(json.loads(start)["epochs_before"] for start in starts) == 0
    assert json.loads(starts[1])["epochs_before"] >= 1, "it went on after its last finished epoch"
    for name, trial in trials.items():
        epochs = epochs_of(directory.trial(name))
        assert epochs == list(range(1, len(epochs) + 1)), "each epoch once"
        if trial.state == "pruned":
            assert len(epochs) in RUNGS
            assert not (directory.trial(name) / "scores.parquet").exists()

    told = {
        trial.user_attrs["trial"]: trial
        for trial in optuna.load_study(study_name="early", storage=directory.optuna_url).trials
    }
    for name, trial in trials.items():
        if name != "baseline":
            assert told[name].state.name == trial.state.upper()
