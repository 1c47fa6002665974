"""NT and its rivals on small HyperIQA and the embedded photographs, with three seeds: `make`'s one measured comparison.

    python -m benchmarks.defences.measure train scores.parquet    # minutes of one core; goes on where it was stopped
    python -m benchmarks.defences.measure answer scores.parquet   # the tables of docs/defences.md

Every other training photograph, one split for all seeds, settings chosen by hand beforehand and not searched. For each
seed the λ=0 baseline is trained once, and every defence repeats its last stage from there, as studies do.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from analysis.front import find_front
from analysis.rivals import Rival, answers, as_markdown
from benchmarks.audit.models import data
from search_spaces.schema import load_study_file
from trainables.config import BASELINE, TrialConfig
from trainables.defences import defence_of
from trainables.objectives import measure
from trainables.trial import Trial, run_trial

SEEDS = (0, 1, 2)
ATTACKS: dict[str, dict[str, Any]] = {
    "fgsm": {"name": "fgsm", "eps": 0.005, "alpha": 0.01},
    "ifgsm10": {"name": "ifgsm", "eps": 0.005, "alpha": 0.001, "steps": 10},
}
SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "nt": ({"lam": 1e-4}, {"lam": 1e-3}),
    "exact_norm": ({"lam": 1e-4},),
    "adversarial_training": ({"lam": 1.0, "eps": 0.005}, {"lam": 3.0, "eps": 0.01}),
    "trades": ({"lam": 0.1, "eps": 0.005},),
    "rank_margin": ({"lam": 10.0, "eps": 0.005, "form": "relative"},),
    "none": ({"lam": 0.0},),
}
KEPT = ("image", "content", "split", "mos", "attack", "clean_score", "attacked_score", "gradient_l1")


def configs(seed: int) -> dict[tuple[str, str], TrialConfig]:
    """(defence, trial) -> its configuration; the baseline first."""
    study = load_study_file("hyperiqa", preset="demo")
    base = dataclasses.replace(study.trial_config(BASELINE, {}), seed=seed, attacks=ATTACKS, views="grid")
    found = {("", BASELINE): base}
    for defence, settings in SETTINGS.items():
        for number, setting in enumerate(settings):
            params = {key: value for key, value in setting.items() if key != "lam"}
            recipe = dataclasses.replace(base.recipe, defence=defence, defence_params=params)
            trial = f"t{number:03d}"
            found[defence, trial] = dataclasses.replace(base, trial=trial, recipe=recipe, lam=setting["lam"])
    return found


def train(path: Path) -> None:
    """Train and attack all models that `path` does not hold yet."""
    store, rows = data()
    known = pd.read_parquet(path) if path.exists() else pd.DataFrame(columns=["seed", "defence", "trial"])
    parts = [known] if len(known) else []
    done = {*known[["seed", "defence", "trial"]].drop_duplicates().itertuples(index=False, name=None)}
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            every = configs(seed)
            if all((seed, *key) in done for key in every):
                continue
            start = Path(folder) / f"seed-{seed}" / BASELINE
            for (defence, trial), config in every.items():
                if (seed, defence, trial) in done and trial != BASELINE:
                    continue
                place = start if trial == BASELINE else start.parent / f"{defence}-{trial}"
                scores = run_trial(Trial(config, store, rows, place, start=start))
                if (seed, defence, trial) in done:
                    continue  # it was trained again as the place to start from
                passes = config.epochs * defence_of(config).passes
                parts.append(scores[list(KEPT)].assign(seed=seed, defence=defence, trial=trial, passes=passes))
                pd.concat(parts, ignore_index=True).to_parquet(path, compression="zstd", index=False)
                print(seed, defence, trial, {k: round(v, 3) for k, v in measure(scores, "test").items() if k in SHOWN})


SHOWN = ("srocc", "rmse_attacked", "rmse_attacked/ifgsm10", "srocc_mos_attacked")


def answer(path: Path) -> None:
    """Print a table of all models and the four questions' answers, as Markdown."""
    table = pd.read_parquet(path)
    print(f"| defence | λ | other | passes | {' | '.join(SHOWN)} |\n|---|---|---|---|{'---|' * len(SHOWN)}")
    every = configs(0)
    for (defence, trial), config in every.items():
        own = [measure(of_seed, "test") for of_seed in tables_of(table, defence, trial)]
        cells = [f"{np.mean([o[n] for o in own]):.3f} ± {np.std([o[n] for o in own], ddof=1):.3f}" for n in SHOWN]
        params = ", ".join(f"{key} {value}" for key, value in config.recipe.defence_params.items()) or "–"
        passes = config.epochs * defence_of(config).passes
        print(f"| {defence or 'λ=0 baseline'} | {config.lam:g} | {params} | {passes} | {' | '.join(cells)} |")
    rivals = [rival(table, defence, every) for defence in SETTINGS]
    print()
    print(as_markdown(answers(rivals)))


def rival(table: pd.DataFrame, defence: str, every: dict[tuple[str, str], TrialConfig]) -> Rival:
    """A defence as a study that was confirmed with all seeds; validation metrics are means over these."""
    points, tables, retrained = [], {}, {}
    for (owner, trial), config in every.items():
        if owner not in ("", defence):
            continue
        of_seeds = tables_of(table, owner, trial)
        means = {
            split: pd.DataFrame([measure(one, split) for one in of_seeds]).mean().to_dict()
            for split in ("validation", "test")
        }
        points.append(
            {
                "trial": trial,
                "state": "complete",
                "lam": config.lam,
                "step_size": config.step_size if owner in ("", "nt") else float("nan"),
                "defence": owner or defence,
                "training": {k: v for k, v in config.recipe.defence_params.items() if isinstance(v, float)},
                "passes": config.epochs * defence_of(config).passes,
                "is_baseline": trial == BASELINE,
                **means,
            }
        )
        tables[trial], retrained[trial] = of_seeds[0], of_seeds
    return Rival(front=find_front(defence, points), tables=tables, retrained=retrained)


def tables_of(table: pd.DataFrame, defence: str, trial: str) -> list[pd.DataFrame]:
    """A model's score tables, seed by seed."""
    own = table[(table["defence"] == defence) & (table["trial"] == trial)]
    return [part for _, part in own.groupby("seed", sort=True)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"train": train, "answer": answer}[sys.argv[1]](Path(sys.argv[2]))
