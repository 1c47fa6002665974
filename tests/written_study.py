"""Studies in the real layout whose score tables are made up instead of trained for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from search_spaces.schema import StudyFile, load_study_file
from study.search.durable import trial_name
from study.storage.directory import StudyDirectory, create
from trainables.config import BASELINE
from trainables.objectives import measure
from trainables.record import write_scores

IMAGES = 12
"""Per split."""


def write_study(
    studies: Path,
    name: str = "written",
    *,
    baseline: str = "complete",
    ends: Sequence[str] = ("complete",) * 3,
    defence: str = "nt",
) -> StudyDirectory:
    """A study whose baseline and trials ended as `baseline` and `ends` say (`""`: not yet)."""
    overrides = {"trials": max(1, len(ends)), "first_points": [], "recipe": {"defence": defence}}
    study_file = load_study_file("hyperiqa", preset="smoke", overrides=overrides)
    directory = create(studies, name, study_file)
    directory.write_split(split_rows())
    environment = {
        "data": {
            "spec": "photos:small",
            "fingerprint": "0" * 64,
            "score_kind": "made up",
            "mos_minimum": 0.0,
            "mos_maximum": 100.0,
            "images": {"train": IMAGES, "validation": IMAGES, "test": IMAGES},
        },
        "versions": {"python": "3.11", "torch": "2.15.0"},
        "code": "0123456789abcdef+changes",
        "hardware": {"host": "here", "cpus": 2},
    }
    directory.write_json("environment.json", environment)
    write_trial(directory, study_file, BASELINE, end=baseline)
    for number, end in enumerate(ends):
        write_trial(directory, study_file, trial_name(number), number, end)
    return directory


def write_trial(
    directory: StudyDirectory, study_file: StudyFile, trial: str, number: int = -1, end: str = "complete"
) -> None:
    """One trial's folder; the larger its λ, the less the attack moves its scores and the worse they are."""
    lam = 10.0 ** (-5 + 2 * (number % 7) / 7)
    config = study_file.trial_config(trial, {"lam": lam, "step_size": 0.01 + 0.001 * (number % 5)})
    scores = score_table(number + 1, strength=20.0 / (number + 2), noise=5.0 + number % 7)
    directory.write_json(f"trials/{trial}/config.json", config.to_dict())
    write_epochs(directory, trial, epoch_rows(scores, 1 if end in ("failed", "pruned") else config.epochs))
    if end == "complete":
        write_scores(directory.trial(trial) / "scores.parquet", scores, {"trial": trial})
    if end:
        reasons = {"complete": "", "pruned": "stopped early by the scheduler", "failed": "RuntimeError: out of memory"}
        directory.write_result(trial, end, reasons[end])


def write_epochs(directory: StudyDirectory, trial: str, rows: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (directory.trial(trial) / "epochs.jsonl").write_text(text, encoding="utf-8")


def epoch_rows(scores: pd.DataFrame, epochs: int) -> list[dict[str, Any]]:
    probe = measure(scores, "validation")
    return [
        {"epoch": epoch, "stage": "finetune", "train_loss": 9.0 / epoch, "lr": 1e-3, "train_seconds": 0.25, **probe}
        for epoch in range(1, epochs + 1)
    ]


def split_rows() -> pd.DataFrame:
    rows = score_table(0, 0.0, 0.0)[["image", "content", "split", "mos"]].drop_duplicates("image", ignore_index=True)
    return rows.assign(index=range(len(rows)), sha256="0", raw_mos=rows["mos"])


def score_table(seed: int, strength: float, noise: float) -> pd.DataFrame:
    """Validation and test rows under two attacks; `strength` is how far the stronger one moves a score."""
    generator = np.random.default_rng(seed)
    parts = []
    for split in ("validation", "test"):
        mos = np.linspace(5, 95, IMAGES)
        clean = mos + noise * generator.normal(size=IMAGES)
        for attack, share in (("fgsm", 1.0), ("noise", 0.1)):
            change = share * strength * generator.uniform(0.5, 1.5, IMAGES) * np.where(clean > 50, -1, 1)
            parts.append(
                pd.DataFrame(
                    {
                        "image": [f"{split}-{row}.png" for row in range(IMAGES)],
                        "content": [f"{split}-{row}" for row in range(IMAGES)],
                        "split": split,
                        "mos": mos,
                        "attack": attack,
                        "clean_score": clean,
                        "attacked_score": clean + change,
                        "attacked_score_8bit": clean + change,
                        "max_delta": 0.005,
                        "ssim": 0.999,
                        "seconds": 0.001,
                        "gradient_l1": np.abs(change) / 0.005,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)
