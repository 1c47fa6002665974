"""Record a grid of real small trials for `replay.py` to search: python benchmarks/search/record_grid.py

λ x h x epoch x seed -> validation objectives, made by the real trainable: HyperIQA at size small on half of the
embedded `photos:small`, NT trials started from their seed's λ=0 baseline. Takes about half an hour of one processor
core, keeps what it has after every trial, and goes on from there. Needs neither Ray nor Optuna.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from trainables.config import BASELINE, Recipe, Stage, TrialConfig
from trainables.data import open_dataset
from trainables.data.split import MosScale, split_table
from trainables.data.store import ImageStore
from trainables.files import write_atomically
from trainables.trial import Trial

GRID = Path(__file__).with_name("grid.parquet")
LAMS = np.geomspace(3e-6, 1e-3, 12)
STEP_SIZES = np.geomspace(1e-3, 1e-1, 4)
EPOCHS = 6
SEEDS = (0, 1)
ATTACKS = {"fgsm": {"name": "fgsm", "eps": 0.005, "alpha": 0.01}}
RECIPE = Recipe(
    init="baseline",
    augment="dihedral",
    stages=(
        Stage(name="pretrain", epochs=12, lr=1e-3, weight_decay=5e-4, schedule="cosine", warmup=0.1),
        Stage(name="finetune", epochs=EPOCHS, lr=5e-4, weight_decay=5e-4, schedule="cosine", warmup=0.1),
    ),
)


def main() -> None:
    torch.set_num_threads(1)
    images = open_dataset("photos:small")
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            rows = half_of_the_training_images(images.table, seed)
            start = Path(folder) / f"{BASELINE}-{seed}"
            points = [(0.0, 0.01), *itertools.product(LAMS, STEP_SIZES)]
            for lam, step_size in points:
                if lam > 0 and is_recorded(seed, lam, step_size):
                    continue
                name = BASELINE if lam == 0 else f"t{points.index((lam, step_size)):03d}"
                config = TrialConfig(
                    trial=name,
                    model="hyperiqa",
                    size="small",
                    recipe=RECIPE,
                    lam=lam,
                    step_size=step_size,
                    seed=seed,
                    attacks=ATTACKS,
                )
                trial_folder = start if lam == 0 else Path(folder) / f"{name}-{seed}"
                record(config, images.store, rows, trial_folder, start)


def half_of_the_training_images(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A seed's split with MOS on 0..100 and every second training image."""
    rows = split_table(table, seed=seed)
    rows = rows.assign(mos=MosScale.of_training(rows).normalise(rows["mos"].to_numpy()))
    train = rows["split"] == "train"
    return pd.concat([rows[train].iloc[::2], rows[~train]])


def is_recorded(seed: int, lam: float, step_size: float) -> bool:
    if not GRID.exists():
        return False
    grid = pd.read_parquet(GRID)
    return bool(((grid["seed"] == seed) & (grid["lam"] == lam) & (grid["step_size"] == step_size)).any())


def record(config: TrialConfig, images: ImageStore, rows: pd.DataFrame, folder: Path, start: Path) -> None:
    trial = Trial(config, images, rows, folder, start=start)
    while not trial.finished:
        trial.run_epoch()
    last = trial.epochs[-EPOCHS:]
    new = pd.DataFrame(
        {
            "seed": config.seed,
            "lam": config.lam,
            "step_size": config.step_size,
            "epoch": range(1, EPOCHS + 1),
            "srocc": [row["srocc"] for row in last],
            "rmse_attacked": [row["rmse_attacked"] for row in last],
            "train_seconds": [row["train_seconds"] for row in last],
        }
    )
    known = pd.read_parquet(GRID) if GRID.exists() else new.iloc[:0]
    known = known[~((known["seed"] == config.seed) & (known["lam"] == 0))] if config.lam == 0 else known
    table = pd.concat([known, new]).astype(new.dtypes)
    write_atomically(GRID, lambda file: table.to_parquet(file, index=False))
    row = new.iloc[-1]
    print(
        f"seed {config.seed} λ {config.lam:.2g} h {config.step_size:.2g}: "
        f"SROCC {row['srocc']:.3f}, attacked RMSE {row['rmse_attacked']:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
