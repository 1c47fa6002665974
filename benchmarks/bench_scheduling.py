"""How full a study keeps 64 GPUs, and what a trial costs the driver: python benchmarks/bench_scheduling.py [--help]

Real Ray Tune, Optuna, study folder and, with --mlflow, MLflow; the GPUs are only counted, and a trial sleeps and writes
a ready-made record. A machine's processors are shared by the driver and all the trials' processes, which a cluster has
apart. So no trial ends before each slot has its process, which machines would start side by side; and trials
have to last, or this measures how fast 64 processes take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import ray
from matplotlib.figure import Figure
from ray import tune
from ray.tune import Callback

from search_spaces.schema import load_study_file
from study.cluster.local import SETTINGS
from study.cluster.session import start_ray
from study.running.tuner import run_trials
from study.running.unpickled import Unpickled
from study.search.durable import DurableSearch, open_optuna
from study.storage.directory import StudyDirectory, create
from study.storage.frozen import software
from study.tracking.tracker import Tracker
from trainables.objectives import measure
from trainables.record import SCORES, write_scores

MARKS = (50, 100, 200, 300, 400, 500, 600, 800, *range(1000, 10_001, 500))
"""After so many finished trials a line is printed."""
EVERY = 50
"""After so many more, the driver is looked at for the record."""
IMAGES = 20


class SleepingTrial(tune.Trainable):
    """Holds its slot for half to one and a half times the given seconds, then leaves the same record as all others."""

    def setup(self, config: dict[str, Any]) -> None:
        self.study = Path(config["directory"])
        self.folder = self.study / "trials" / config["trial"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        began = time.time()
        trial = json.loads((self.study / "config.json").read_text())
        trial |= {"trial": self.config["trial"], **(self.config["point"] or {"lam": 0})}
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.json").write_text(json.dumps(trial))
        self._wait_for_all_slots()
        time.sleep(float((self.study / "seconds").read_text()) * random.Random(self.config["trial"]).uniform(0.5, 1.5))
        table = scores_at(trial["lam"], seed=self.config["trial"])
        epochs = [json.loads(line) for line in (self.study / "epochs.jsonl").read_text().splitlines()]
        rows = [row | measure(table, "validation") for row in epochs]
        (self.folder / "epochs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        write_scores(self.folder / SCORES, table, {"trial": self.config["trial"]})
        (self.folder / "slot.json").write_text(json.dumps({"began": began, "ended": time.time()}))
        return {**rows[-1], "done": True}

    def _wait_for_all_slots(self) -> None:
        """Until as many trials have begun as there are slots."""
        slots = int((self.study / "slots").read_text())
        while len(list(self.study.glob("trials/*/config.json"))) < slots:
            time.sleep(1)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to keep."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing was kept."""


class Notifier(Unpickled, Callback):
    """Tells MLflow's tracker what the live table would tell it."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.tracker.notify()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.tracker.notify()


class DriverMeter(Unpickled, Callback):
    """The driver's memory and time at each mark."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.printed = self._now(0)
        self.rows: list[dict[str, float]] = []
        self.finished = 0

    def _now(self, finished: int) -> dict[str, float]:
        used = self.process.cpu_times()
        gcs = [child.memory_info().rss for child in self.process.children() if child.name() == "gcs_server"]
        memory = {"driver_mib": self.process.memory_info().rss / 2**20, "gcs_mib": sum(gcs) / 2**20}
        return {"finished": finished, "cpu": used.user + used.system, "wall": time.time(), **memory}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.finished += 1
        if self.finished % EVERY:
            return
        row = self._now(self.finished)
        self.rows.append(row)
        if self.finished in MARKS:
            before, self.printed = self.printed, row
            count = row["finished"] - before["finished"]
            cpu, wall = ((row[key] - before[key]) / count * 1e3 for key in ("cpu", "wall"))
            cells = [f"{row[name]:.0f}" for name in ("finished", "driver_mib", "gcs_mib")]
            print(" | ".join([*cells, f"{cpu:.0f}", f"{wall:.0f}"]), flush=True)

    def memory(self) -> pd.DataFrame:
        """Finished trials, and MiB of the driver and the GCS."""
        return pd.DataFrame(self.rows)[["finished", "driver_mib", "gcs_mib"]].round(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, default=64, help="pretended GPUs")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long a trial sleeps on average")
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--mlflow", action="store_true", help="record the trials in the default store as well")
    parser.add_argument("--memory", type=Path, help="write the driver's memory to this CSV file, and a plot beside it")
    options = parser.parse_args()
    os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ |= {"RAY_worker_niceness": "0"}  # Ray's own 15 would starve the trials beside anything else that runs
    ray.init(
        address="local",
        num_cpus=options.slots,
        num_gpus=options.slots,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=100_000_000,
        _system_config=SETTINGS,
    )
    with tempfile.TemporaryDirectory() as studies:
        directory = write_study(Path(studies), options)
        study_file = directory.read_study_file()
        start_ray(study_file, directory.path.parent)
        search = DurableSearch(directory, study_file, open_optuna(directory, study_file))
        with contextlib.ExitStack() as stack:
            notifiers = [stack.enter_context(recorded(directory))] if options.mlflow else []
            meter = DriverMeter()
            print("finished | driver, MiB | GCS, MiB | driver's CPU time, ms per trial | wall time, ms per trial")
            run_trials(directory, study_file, search, [meter, *notifiers], lambda: False, actor=SleepingTrial)
            if options.memory:
                keep_memory(meter.memory(), options.memory)
        report(directory, options.slots)
    ray.shutdown()


def keep_memory(rows: pd.DataFrame, path: Path) -> None:
    """As a table and as a plot."""
    rows.to_csv(path, index=False)
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(rows["finished"], rows["driver_mib"], label="driver, with MLflow's thread")
    axes.plot(rows["finished"], rows["gcs_mib"], label="Ray's GCS")
    axes.set(xlabel="finished trials", ylabel="memory in use, MiB", ylim=(0, None))
    axes.legend(frameon=False)
    figure.savefig(path.with_suffix(".png"), dpi=150, metadata={"Software": None})


@contextlib.contextmanager
def recorded(directory: StudyDirectory) -> Iterator[Callback]:
    tracker = Tracker(directory, warn=print)
    tracker.start()
    try:
        yield Notifier(tracker)
    finally:
        tracker.close()


def write_study(studies: Path, options: argparse.Namespace) -> StudyDirectory:
    overrides = {
        "trials": options.trials - 1,  # the baseline is one more
        "sampler": options.sampler,
        "first_points": [],
        "recipe": "scratch",
        "resources_per_trial": {"cpu": 1, "gpu": 1},
    }
    directory = create(studies, "scheduling", load_study_file("hyperiqa", preset="smoke", overrides=overrides))
    table = scores_at(0.0, seed="any")
    config = directory.read_study_file().trial_config("t000", {"lam": 1e-4, "step_size": 0.01})
    directory.write_json("config.json", config.to_dict())
    epoch = {"epoch": 1, "stage": "finetune", "train_loss": 1.0, "lr": 1e-3, "train_seconds": options.seconds}
    row = json.dumps(epoch | measure(table, "validation")) + "\n"
    (directory.path / "epochs.jsonl").write_text(row * config.epochs)
    directory.write_json("environment.json", {"data": {}, **software()})
    (directory.path / "seconds").write_text(str(options.seconds))
    (directory.path / "slots").write_text(str(min(options.slots, options.trials)))
    return directory


def scores_at(lam: float, seed: str) -> pd.DataFrame:
    """A made-up score table: a larger λ costs order and gains robustness, with noise, so that few are on the front."""
    noise = np.random.default_rng([ord(letter) for letter in seed])
    mos = np.linspace(5, 95, IMAGES)
    strength = lam / (lam + 1e-3)
    clean = np.clip(50 + (mos - 50) * (1 - 0.8 * strength) + noise.normal(0, 8 + 8 * strength, IMAGES), 0, 100)
    attacked = np.clip(clean + noise.normal(0, 15 * (1 - strength) + 1, IMAGES), 0, 100)
    return pd.DataFrame(
        {
            "image": [f"{row}.png" for row in range(IMAGES)],
            "content": [str(row) for row in range(IMAGES)],
            "split": ["validation", "test"] * (IMAGES // 2),
            "mos": mos,
            "attack": "fgsm",
            "clean_score": clean,
            "attacked_score": attacked,
            "attacked_score_8bit": attacked,
            "max_delta": 0.005,
            "ssim": 0.99,
            "seconds": 0.001,
            "gradient_l1": 1.0,
        }
    )


def report(directory: StudyDirectory, slots: int) -> None:
    times = [json.loads(path.read_text()) for path in directory.trials.glob("*/slot.json")]
    print(f"{len(times)} trials on {slots} slots")
    filled = first_full(times) - min(entry["began"] for entry in times)
    print(f"all slots are in use {filled:.0f} s after the first")
    print(f"slots in use, from then to the last start: {utilisation(times, slots):.1%}")


def first_full(times: list[dict[str, float]]) -> float:
    """When as many slots were in use as ever were at once, for the first time."""
    changes = sorted([(entry["began"], 1) for entry in times] + [(entry["ended"], -1) for entry in times])
    in_use = np.cumsum([change for _, change in changes])
    return changes[int(np.argmax(in_use))][0]


def utilisation(times: list[dict[str, float]], slots: int) -> float:
    """Share of the slots' time that trials held them, while there were trials left to start."""
    full, end = first_full(times), max(entry["began"] for entry in times)
    busy = sum(max(0.0, min(entry["ended"], end) - max(entry["began"], full)) for entry in times)
    return busy / (slots * (end - full))


if __name__ == "__main__":
    main()
