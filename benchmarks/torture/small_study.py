"""The small study that is tortured, and what it has to be like in the end.

A real one (Ray, Optuna, MLflow, training) of a tiny model on made-up images, with fixed points, so that a study that
nobody hurt says what every trial's objectives must be.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from study.search.durable import open_optuna
from study.storage.directory import StudyDirectory
from trainables.config import BASELINE

TRIALS = 6
EPOCHS = 3
Values = dict[str, list[float]]
"""Each trial's objectives."""


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


def problems_of(directory: StudyDirectory, reference: Values, tracking_uri: str = "") -> list[str]:
    """What is lost, doubled or different, in words; empty when all is as it has to be.

    tracking_uri: where MLflow's runs are; by default its store beside the studies.
    """
    found: list[str] = []
    values = values_of(directory, found)
    if values != reference:
        found.append(f"objectives differ from the study that nobody hurt: {values} instead of {reference}")
    names = [BASELINE, *reference]
    store = tracking_uri or f"sqlite:///{directory.path.parent / 'mlflow.db'}"
    return found + epochs_problems(directory, names) + mlflow_problems(directory, names, store)


def values_of(directory: StudyDirectory, problems: list[str]) -> Values:
    """Every trial's objectives as Optuna has them; `problems` hears of trials that are not complete, or too many."""
    if directory.mirror is not None:
        directory.mirror.pull(directory.search_log)
    recorded = open_optuna(directory, directory.read_study_file()).trials
    states = Counter(trial.state.name for trial in recorded)
    if states != {"COMPLETE": TRIALS}:
        problems.append(f"Optuna holds {dict(states)}")
    return {trial.user_attrs["trial"]: list(trial.values or ()) for trial in recorded}


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
