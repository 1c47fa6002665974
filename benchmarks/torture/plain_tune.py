"""Kills of plain Ray Tune: python -m benchmarks.torture.plain_tune [KILLS]

Tune's own parts put together as its guides do: `OptunaSearch` on a journal file, `MLflowLoggerCallback`, a class
trainable with a checkpoint after every epoch, `Tuner.restore`. Training and points are
those of the studies that `python -m benchmarks.torture` hurts. What it prints is what that would call a problem.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.torture.small_study import EPOCHS, TRIALS, write_study_file
from search_spaces.schema import load_study_file
from study.running.run import prepare
from study.storage.directory import StudyDirectory
from trainables.config import BASELINE

KILLS = 20
SETTLING = 8.0
"""Seconds that a driver lives at least: before that it only imports."""
OBJECTIVES = {"srocc": "max", "rmse_attacked": "min"}


def train_baseline(directory: StudyDirectory) -> None:
    from trainables.data import open_dataset
    from trainables.trial import Trial, run_trial

    study_file = directory.read_study_file()
    images = open_dataset(study_file.data).store
    folder = directory.trial(BASELINE)
    run_trial(Trial(study_file.trial_config(BASELINE, {}), images, directory.read_split(), folder))


def tune_study(directory: StudyDirectory) -> None:
    """Run or restore one experiment in `directory`, as Tune's guides show it."""
    import optuna
    import ray
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    study_file = directory.read_study_file()

    class Training(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            import torch

            from trainables.data import open_dataset
            from trainables.trial import Trial

            torch.set_num_threads(1)
            self.folder = Path(tempfile.mkdtemp())
            with (directory.path / "trainings.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"lam": config["lam"], "trial": self.trial_id}) + "\n")
            self.make = lambda: Trial(
                study_file.trial_config("t", config),
                open_dataset(study_file.data).store,
                directory.read_split(),
                self.folder,
                start=directory.trial(BASELINE),
            )
            self.trial = self.make()

        def step(self) -> dict[str, Any]:
            from trainables.objectives import measure

            row = self.trial.run_epoch()
            with (directory.path / "epochs.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"lam": self.config["lam"], "epoch": row["epoch"]}) + "\n")
            if self.trial.finished:
                row |= measure(self.trial.write_record(), "validation")
            return {**{name: row[name] for name in OBJECTIVES}, "done": self.trial.finished}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            shutil.copytree(self.folder, checkpoint_dir, dirs_exist_ok=True)

        def load_checkpoint(self, checkpoint: Any) -> None:
            shutil.copytree(checkpoint, self.folder, dirs_exist_ok=True)
            self.trial = self.make()

    ray.init(address="local", log_to_driver=False, include_dashboard=False, object_store_memory=100_000_000)
    place = directory.path / "tune"
    if tune.Tuner.can_restore(str(place / "plain")):
        tune.Tuner.restore(str(place / "plain"), Training, resume_unfinished=True, restart_errored=True).fit()
        return
    search = OptunaSearch(
        space={name: optuna.distributions.FloatDistribution(axis.low, axis.high, log=axis.log)
               for name, axis in study_file.space.items()},
        metric=list(OBJECTIVES),
        mode=list(OBJECTIVES.values()),
        points_to_evaluate=list(study_file.first_points),
        study_name="plain",
        storage=JournalStorage(JournalFileBackend(str(directory.path / "journal.log"))),
    )  # fmt: skip
    tune.Tuner(
        tune.with_resources(Training, {"cpu": 1}),
        tune_config=tune.TuneConfig(search_alg=search, num_samples=TRIALS),
        run_config=tune.RunConfig(
            name="plain",
            storage_path=str(place),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
            callbacks=[
                MLflowLoggerCallback(tracking_uri=f"sqlite:///{directory.path / 'mlflow.db'}", experiment_name="plain")
            ],
            verbose=0,
        ),
    ).fit()


def drive(directory: StudyDirectory, kill_after: float | None) -> bool:
    """Run or restore in a process of its own; kill it after so many seconds. Returns whether it ended by itself."""
    command = [sys.executable, __file__, "--drive", str(directory.path)]
    code, output = run_or_kill(command, kill_after)
    if code:
        print(f"  a driver ended with {code}: {output.strip().splitlines()[-1]}", flush=True)
    return code == 0


def report(directory: StudyDirectory) -> str:
    """What there is now, beside what was asked for."""
    import mlflow
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trainings = read_lines(directory.path / "trainings.jsonl")
    epochs = read_lines(directory.path / "epochs.jsonl")
    storage = JournalStorage(JournalFileBackend(str(directory.path / "journal.log")))
    states = Counter(trial.state.name for trial in optuna.load_study(study_name="plain", storage=storage).trials)
    client = mlflow.MlflowClient(f"sqlite:///{directory.path / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = Counter(run.info.status for run in client.search_runs(experiments))
    return (
        f"{len(trainings)} trainings begun and {len(epochs)} epochs trained for {TRIALS} trials of {EPOCHS} epochs; "
        f"Optuna: {dict(states)}; MLflow runs: {dict(runs)}"
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


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


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    moments = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        first = prepare(folder, "plain-0", load_study_file(str(write_study_file(folder))))
        train_baseline(first)
        blank = folder / "blank"
        shutil.copytree(first.path, blank)
        started = time.monotonic()
        drive(first, None)
        latest = time.monotonic() - started
        print(f"nobody killed ({latest:.0f} s): {report(first)}", flush=True)
        kills, number = 0, 1
        while kills < wanted:
            directory = StudyDirectory(folder / f"plain-{number}")
            shutil.copytree(blank, directory.path)
            done, own, runs = False, 0, 0
            while not done and runs < 2 * KILLS:
                runs += 1
                done = drive(directory, moments.uniform(SETTLING, latest) if kills < wanted else None)
                own, kills = own + (not done), kills + (not done)
            print(f"{own} kills: {report(directory)}", flush=True)
            number += 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "0")
    if sys.argv[1:2] == ["--drive"]:
        tune_study(StudyDirectory(Path(sys.argv[2])))
    else:
        main()
