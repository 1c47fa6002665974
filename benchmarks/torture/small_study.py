"""Kill the driver of small real studies at random moments, resume, and check: python benchmarks/search/kills.py [KILLS]

Every study is a real one (Ray, Optuna, MLflow, training) of a tiny model on made-up images. A study that was never
killed says what every trial's objectives must be; each killed one has to end with the same trials and the same values.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from study.storage.directory import StudyDirectory
from trainables.config import BASELINE

KILLS = 20
TRIALS = 6
EPOCHS = 3
SETTLING = 8.0
"""Seconds that a driver lives at least: before that it only imports."""


@dataclass
class Outcome:
    """What became of one study."""

    kills: int = 0
    runs: int = 0
    problems: list[str] = field(default_factory=list)


def write_study_file(folder: Path) -> Path:
    """A study file of `TRIALS` fixed points on images of blurred noise, whose score says how blurred."""
    generator = np.random.default_rng(0)
    lines = ["image,mos,content"]
    for number in range(60):
        coarse = 4 * 2 ** (number % 4)
        pixels = generator.integers(0, 256, (coarse, coarse, 3), dtype=np.uint8)
        name = f"{number}.png"
        Image.fromarray(pixels).resize((64, 64)).save(folder / name)
        lines.append(f"{name},{coarse + number / 60},{number}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    points = [{"lam": float(lam), "step_size": 0.01} for lam in np.geomspace(1e-5, 1e-3, TRIALS)]
    content = {
        "baseline": "hyperiqa",
        "preset": "smoke",
        "data": f"csv:{folder / 'manifest.csv'}",
        "trials": TRIALS,
        "first_points": points,
        "recipe": {
            "init": "baseline",
            "stages": [
                {"name": "pretrain", "epochs": 1, "lr": 1e-3, "batch_size": 12},
                {"name": "finetune", "epochs": EPOCHS, "lr": 5e-4, "batch_size": 12},
            ],
        },
        "attacks": {"fgsm": {"name": "fgsm", "eps": 0.005, "alpha": 0.01}},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def drive(study_file: Path, directory: StudyDirectory, kill_after: float | None) -> bool:
    """Launch or resume; kill the driver after so many seconds. Returns whether it ended by itself, with success."""
    verb = ["resume", directory.name]
    if not (directory.path / "study.yaml").exists():
        verb = ["launch", str(study_file), "--name", directory.name]
    command = [sys.executable, "-m", "study.cli", *verb, "--studies", str(directory.path.parent)]
    code, output = run_or_kill(command, kill_after)
    if code is None:
        return False
    assert code == 0, output
    return True


def run_or_kill(command: list[str], kill_after: float | None) -> tuple[int | None, str]:
    """Exit status and output of a command; no status when it was killed after so many seconds."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
        return None, output
    return process.returncode, output


def run_and_kill(
    study_file: Path, directory: StudyDirectory, moments: random.Random, most: int, latest: float
) -> Outcome:
    """One study, killed at most `most` times at random moments up to `latest` seconds, resumed until it is finished."""
    outcome = Outcome()
    while True:
        outcome.runs += 1
        kill_after = moments.uniform(SETTLING, latest) if outcome.kills < most else None
        if drive(study_file, directory, kill_after):
            return outcome
        outcome.kills += 1


def problems_of(directory: StudyDirectory, reference: dict[str, list[float]]) -> list[str]:
    """What is lost, doubled or different, in words; empty when all is as it has to be."""
    found: list[str] = []
    values = optuna_values(directory, found)
    if values != reference:
        found.append(f"objectives differ from the study that was not killed: {values} instead of {reference}")
    names = [BASELINE, *reference]
    store = f"sqlite:///{directory.path.parent / 'mlflow.db'}"
    return found + epochs_problems(directory, names) + mlflow_problems(directory, names, store)


def epochs_problems(directory: StudyDirectory, names: list[str]) -> list[str]:
    """Trials that are not complete on disk, or have not each epoch once."""
    found = []
    for name in names:
        rows = (directory.trial(name) / "epochs.jsonl").read_text(encoding="utf-8").splitlines()
        epochs = [json.loads(row)["epoch"] for row in rows]
        wanted = list(range(1, EPOCHS + 1 + (name == BASELINE)))
        if epochs != wanted:
            found.append(f"{name} has the epochs {epochs}")
        state = directory.read_json(f"trials/{name}/result.json")["state"]
        if state != "complete":
            found.append(f"{name} is {state} on disk")
    return found


def optuna_values(directory: StudyDirectory, problems: list[str]) -> dict[str, list[float]]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trials = optuna.load_study(study_name=directory.name, storage=directory.optuna_url).trials
    states = Counter(trial.state.name for trial in trials)
    if states != {"COMPLETE": TRIALS}:
        problems.append(f"Optuna holds {dict(states)}")
    return {trial.user_attrs["trial"]: trial.values for trial in trials}


def mlflow_problems(directory: StudyDirectory, names: list[str], store: str) -> list[str]:
    import mlflow

    client = mlflow.MlflowClient(store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    link = directory.read_json("mlflow.json")
    runs = client.search_runs(experiments, f"tags.`mlflow.parentRunId` = '{link['runs']['']}'", max_results=1000)
    recorded = Counter(run.info.run_name for run in runs)
    if recorded != Counter(names):
        return [f"MLflow holds {dict(recorded)}"]
    unfinished = [run.info.run_name for run in runs if run.info.status != "FINISHED"]
    return [f"in MLflow {unfinished} are not finished"] if unfinished else []


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    moments = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        study_file = write_study_file(folder)
        started = time.monotonic()
        straight = StudyDirectory(folder / "studies" / "straight")
        drive(study_file, straight, None)
        latest = time.monotonic() - started
        print(f"a study that nobody kills takes {latest:.0f} s", flush=True)
        reference = optuna_values(straight, [])
        kills, number = 0, 0
        while kills < wanted:
            directory = StudyDirectory(folder / "studies" / f"killed-{number}")
            outcome = run_and_kill(study_file, directory, moments, wanted - kills, latest)
            kills, number = kills + outcome.kills, number + 1
            problems = problems_of(directory, reference)
            print(f"{directory.name}: {outcome.kills} kills, {outcome.runs} runs, {problems or 'all as it should be'}")
            sys.stdout.flush()
            if problems:
                sys.exit(1)
    print(f"{kills} kills, {number} studies of {TRIALS} trials: nothing lost, doubled or changed")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    main()
