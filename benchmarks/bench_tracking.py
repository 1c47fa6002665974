"""What recording a trial in MLflow costs, and whether that grows with the study: python benchmarks/bench_tracking.py

Studies of made-up trials in the real layout, the default store (SQLite), the steps that the tracker takes. Processor
time, because that is what a study's trials go without: none of them waits for the tracker.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import safetensors.torch
import torch

from search_spaces.schema import load_study_file
from study.storage.directory import StudyDirectory, create
from study.tracking.projection import Projection
from study.tracking.tracker import open_projection, project_of, store_of
from trainables.config import BASELINE
from trainables.data import open_dataset
from trainables.models import create_model
from trainables.objectives import measure
from trainables.record import write_scores

SIZES = (10, 100, 1000)
REPEATS = 5
"""Trials over which the cost is averaged."""
EPOCHS = 2


def main() -> None:
    torch.set_num_threads(1)
    print("ms, with so many trials before: trials | a trial's record | its figures | the front | a pass without news")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            print(" | ".join([str(size), *(f"{value * 1e3:.0f}" for value in measure_at(size, folder))]))


def measure_at(size: int, folder: str) -> tuple[float, float, float, float]:
    """Seconds: of a trial's record, of its figures, of a front's refresh, of a pass that finds nothing new."""
    directory = write_study(Path(folder), size)
    projection = open_projection(directory, store_of(directory, None), project_of(directory, None))
    with patch.object(Projection, "_draw_front"):
        projection.update(final=True)
    projection.draw_next()  # the first figures pay for imports
    projection._front_due = float("inf")
    record = []
    for number in range(size, size + REPEATS):
        write_trial(directory, number)
        record.append(seconds(projection.update))
    figures = [seconds(projection.draw_next) for _ in range(REPEATS)]
    front = seconds(lambda: projection.update(final=True))
    idle = seconds(lambda: projection.update(final=True))
    return sum(record) / REPEATS, sum(figures) / REPEATS, front, idle


def seconds(step: Callable[[], object]) -> float:
    started = time.process_time()
    step()
    return time.process_time() - started


def write_study(studies: Path, size: int) -> StudyDirectory:
    study_file = load_study_file("hyperiqa", preset="smoke", overrides={"trials": size})
    directory = create(studies, "made-up", study_file)
    images = open_dataset(study_file.data)
    rows = images.table.assign(index=range(len(images.table)))
    directory.write_split(rows)
    directory.write_json("environment.json", {"data": {"fingerprint": images.fingerprint}})
    weights = safetensors.torch.save(create_model("hyperiqa", size="small").state_dict())
    (directory.path / "weights").write_bytes(weights)
    for number in range(-1, size - 1):
        write_trial(directory, number)
    return directory


def write_trial(directory: StudyDirectory, number: int) -> None:
    """A complete trial (-1: the baseline) of as many images as the embedded data has."""
    name = BASELINE if number < 0 else f"t{number:04d}"
    generator = np.random.default_rng(number + 1)
    rows = directory.read_split()
    rows = rows[rows["split"] != "train"]
    mos = rows["mos"].to_numpy(float)
    clean = mos + generator.uniform(1, 20) * generator.normal(size=len(mos))
    change = generator.uniform(1, 20) * generator.normal(size=len(mos))
    parts = [
        pd.DataFrame(
            {
                **{column: rows[column].to_numpy() for column in ("image", "content", "split")},
                "mos": mos,
                "attack": attack,
                "clean_score": clean,
                "attacked_score": clean + share * change,
                "attacked_score_8bit": clean + share * change,
                "max_delta": 0.005,
                "ssim": 0.99,
                "seconds": 0.001,
                "gradient_l1": np.abs(change) / 0.005,
            }
        )
        for attack, share in (("fgsm", 1.0), ("noise", 0.1))
    ]
    scores = pd.concat(parts, ignore_index=True)
    config = directory.read_study_file().trial_config(name, {"lam": 10 ** generator.uniform(-5, -3), "step_size": 0.01})
    directory.write_json(f"trials/{name}/config.json", config.to_dict())
    probe = measure(scores, "validation")
    epochs = [{"epoch": epoch + 1, "stage": "finetune", "train_seconds": 1.0, **probe} for epoch in range(EPOCHS)]
    lines = "".join(json.dumps(row) + "\n" for row in epochs)
    (directory.trial(name) / "epochs.jsonl").write_text(lines, encoding="utf-8")
    write_scores(directory.trial(name) / "scores.parquet", scores, {"trial": name})
    (directory.trial(name) / "model.safetensors").hardlink_to(directory.path / "weights")
    directory.write_result(name, "complete")


if __name__ == "__main__":
    main()
