"""What NT in every second or fourth step buys and costs: fronts of small HyperIQA over five seeds.

    python -m benchmarks.bench_cheaper_nt [record.parquet]    # minutes of one core; goes on where it was stopped

The demo's recipe on every other embedded training photograph. For each seed the λ=0 baseline is trained once, and every
trial repeats its last stage from there with `defence_every` and λ of the grid, as studies do. Printed: the hypervolume
of each seed's front (clean SROCC against attacked RMSE, up to SROCC 0 and RMSE 50) as a share of that of NT in every
step, and the training time as a multiple of the baseline's.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from analysis.front import find_front
from benchmarks.audit.models import data
from search_spaces.schema import load_study_file
from trainables.config import BASELINE, TrialConfig
from trainables.data.store import ImageStore
from trainables.defences import defence_of
from trainables.defences.base import NoDefence
from trainables.objectives import measure
from trainables.trial import Trial, run_trial

RECORD = Path(__file__).with_name("results") / "cheaper_nt.parquet"
SEEDS = range(5)
EVERY = (1, 2, 4)
LAMS = (3e-5, 1e-4, 3e-4, 1e-3)
FGSM = {"fgsm": {"name": "fgsm", "eps": 0.005, "alpha": 0.01}}
SHOWN = ("srocc", "rmse_attacked")


def main(path: Path) -> None:
    store, rows = data()
    base = load_study_file("hyperiqa", preset="demo").trial_config(BASELINE, {})
    base = dataclasses.replace(base, attacks=FGSM, views="grid")
    found = pd.read_parquet(path) if path.exists() else pd.DataFrame(columns=["seed"])
    for seed in SEEDS:
        if seed not in set(found["seed"]):
            measured = pd.DataFrame(models_of(dataclasses.replace(base, seed=seed), store, rows))
            found = pd.concat([found, measured.assign(seed=seed)], ignore_index=True)
            found.to_parquet(path, index=False)
            print(f"seed {seed}: {len(measured)} models", flush=True)
    print(*lines_of(found), sep="\n")


def models_of(base: TrialConfig, store: ImageStore, rows: pd.DataFrame) -> list[dict[str, float]]:
    """The baseline (`every` 0) and the grid's trials of one seed, with the seconds of the last stage and metrics."""
    models = []
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / BASELINE
        for every, lam in [(0, 0.0), *itertools.product(EVERY, LAMS)]:
            recipe = dataclasses.replace(base.recipe, defence_every=max(every, 1))
            trial = f"t{every}-{lam:g}" if every else BASELINE
            config = dataclasses.replace(base, trial=trial, recipe=recipe, lam=lam)
            place = Path(folder) / trial
            scores = run_trial(Trial(config, store, rows, place, start=start))
            seconds = pd.read_json(place / "epochs.jsonl", lines=True)["train_seconds"].iloc[
                -config.recipe.stages[-1].epochs :
            ]
            metrics = {
                f"{name}/{split}": measure(scores, split)[name] for name in SHOWN for split in ("validation", "test")
            }
            models.append({"every": every, "lam": lam, "seconds": float(seconds.sum()), **metrics})
    return models


def lines_of(found: pd.DataFrame) -> list[str]:
    """A row for every choice of `defence_every`, as Markdown."""
    lines = ["| defence_every | passes a step | time | seeds | validation | test |", "|---|---|---|---|---|---|"]
    passes = defence_of(load_study_file("hyperiqa", preset="demo").trial_config("t000", {"lam": 1.0})).passes
    plain = found[found["every"] == 0]["seconds"].mean()
    for every in EVERY:
        own = found[found["every"] == every]
        mean = (passes + (every - 1) * NoDefence.passes) / every
        shares = [
            [volume(found, seed, every, split) / volume(found, seed, 1, split) for seed in sorted(set(found["seed"]))]
            for split in ("validation", "test")
        ]
        cells = [f"{np.mean(one):.3f} ({min(one):.3f} to {max(one):.3f})" for one in shares]
        time = own["seconds"].mean() / plain
        lines.append(f"| {every} | {mean:.2f} | {time:.2f} | {len(shares[0])} | {' | '.join(cells)} |")
    return lines


def volume(found: pd.DataFrame, seed: int, every: int, split: str) -> float:
    """The hypervolume of one seed's models."""
    own = found[(found["seed"] == seed) & found["every"].isin([0, every])]
    points = [
        {
            "trial": f"t{number:03d}" if row["every"] else BASELINE,
            "state": "complete",
            "lam": row["lam"],
            "step_size": 0.01,
            "is_baseline": row["every"] == 0,
            "validation": {name: row[f"{name}/{split}"] for name in SHOWN},
            "test": {},
        }
        for number, row in enumerate(own.to_dict("records"))
    ]
    return find_front("cheaper", points, reference_point=(0.0, 50.0)).hypervolume


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else RECORD)
