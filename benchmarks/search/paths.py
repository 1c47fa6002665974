"""Where mixtures hold, and where they sag: python benchmarks/search/paths.py [BASELINE …]

For every baseline at size small, once with trials that repeat the last stage from the λ=0 model's weights (`warm`) and
once with trials that train from the start alone (`scratch`, from the same initial weights): the λ=0 model, the three
first points of the baseline's demo, and mixtures of λ=0 with the most robust of them, on `photos:small`, with
several seeds. Two things are asked. Does the middle rank images worse than both ends (the barrier)? And how much of the
hypervolume of all four trained models do two of them and five mixtures have? Hours of one core, shared among all
there are; keeps what it has. Needs neither Ray nor Optuna.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from record_grid import ATTACKS, OBJECTIVES, values_of

from analysis import pareto
from search_spaces.schema import StudyFile, load_study_file
from trainables.config import BASELINE
from trainables.data import open_dataset
from trainables.data.split import MosScale, split_table
from trainables.files import default_cache_dir, write_atomically
from trainables.mixture import interpolate
from trainables.models import create_model
from trainables.record import WEIGHTS
from trainables.trial import Trial
from trainables.trust import read_weights

HERE = Path(__file__).parent
TABLE = HERE / "paths.parquet"
SEEDS = range(5)
WEIGHTS_BETWEEN = (0.1, 0.25, 0.5, 0.75, 0.9)
BASELINES = ("hyperiqa", "dbcnn", "linearityiqa", "maniqa")
STARTS = ("warm", "scratch")


def study_of(baseline: str, start: str, seed: int) -> StudyFile:
    """The baseline's demo, on the images that all baselines share here."""
    recipe = {"based_on": "warm"} if start == "warm" else {"based_on": "warm", "init": "scratch"}
    overrides = {"data": "photos:small", "seed": seed, "recipe": recipe, "attacks": ATTACKS}
    return load_study_file(baseline, preset="demo", overrides=overrides)


def record(task: tuple[str, str, int]) -> str:
    """Train and mix, unless that is done, and leave the rows of the table."""
    place = default_cache_dir() / "search-paths" / f"{'-'.join(map(str, task))}.json"
    if not place.exists():
        torch.set_num_threads(1)
        write_atomically(place, json.dumps(rows_of(*task)).encode())
    return f"{task[0]}, {task[1]}, seed {task[2]}"


def rows_of(baseline: str, start: str, seed: int) -> list[dict[str, Any]]:
    study = study_of(baseline, start, seed)
    images = open_dataset(study.data)
    rows = split_table(images.table, seed=seed)
    rows = rows.assign(mos=MosScale.of_training(rows).normalise(rows["mos"].to_numpy()))
    points = [(BASELINE, {}), *((f"t{number:03d}", point) for number, point in enumerate(study.first_points))]
    found: list[dict[str, Any]] = []
    states = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, point in points:
            config = study.trial_config(name, dict(point))
            trial = Trial(config, images.store, rows, Path(folder) / name, start=Path(folder) / BASELINE)
            while not trial.finished:
                trial.run_epoch()
            states[name] = read_weights(Path(folder) / name / WEIGHTS)
            found.append(
                {"model": name, "lam": config.lam, "weight": np.nan, **_values(study, states[name], images, rows)}
            )
    robust = min(found[1:], key=lambda row: row["rmse_attacked"])["model"]
    for weight in WEIGHTS_BETWEEN:
        state = interpolate(states[BASELINE], states[robust], weight)
        found.append({"model": robust, "lam": np.nan, "weight": weight, **_values(study, state, images, rows)})
    return [{"baseline": baseline, "start": start, "seed": seed, **row} for row in found]


def _values(study: StudyFile, state: dict[str, torch.Tensor], images: Any, rows: pd.DataFrame) -> dict[str, float]:
    model = create_model(study.baseline, size=study.size)
    model.load_state_dict(state)
    return values_of(model.to(memory_format=torch.channels_last), images.store, rows)


def main() -> None:
    wanted = sys.argv[1:] or BASELINES
    tasks = list(itertools.product(wanted, STARTS, SEEDS))
    tasks.sort(key=lambda task: task[2])
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for done in as_completed([pool.submit(record, task) for task in tasks]):
            print(done.result(), flush=True)
    keep()


def keep() -> None:
    """Put what was measured here beside what the repository has, and write the table of it."""
    measured = sorted((default_cache_dir() / "search-paths").glob("*.json"))
    rows = [row for path in measured for row in json.loads(path.read_text(encoding="utf-8"))]
    old = [pd.read_parquet(TABLE)] if TABLE.exists() else []
    table = pd.concat([*old, pd.DataFrame(rows)])
    table = table.drop_duplicates(["baseline", "start", "seed", "model", "weight"], keep="last")
    table.to_parquet(TABLE, index=False)
    (HERE / "paths.md").write_text(as_text(table), encoding="utf-8")


def as_text(table: pd.DataFrame) -> str:
    lines = [
        "Mean and, in brackets, lowest and highest over the seeds. Barrier: SROCC on validation that the middle of λ=0",
        "and the most robust trial lacks to the worse of the two; negative where it has more. Share: hypervolume of",
        "these two and five mixtures, as a share of that of λ=0 and all three trials.",
        "",
        "| baseline | trials start from | seeds | λ=0 SROCC | barrier | share, validation | share, test |",
        "|---|---|---|---|---|---|---|",
    ]
    for (baseline, start), of in table.groupby(["baseline", "start"], sort=False):
        seeds = [_summary(one) for _, one in of.groupby("seed")]
        cells = [_spread([seed[name] for seed in seeds]) for name in ("srocc", "barrier", "validation", "test")]
        begin = "the λ=0 model's weights" if start == "warm" else "the same initial weights"
        lines.append(f"| {baseline} | {begin} | {len(seeds)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _summary(rows: pd.DataFrame) -> dict[str, float]:
    trained, mixed = rows[rows["weight"].isna()], rows[rows["weight"].notna()]
    ends = trained[trained["model"].isin([BASELINE, mixed["model"].iloc[0]])]
    middle = mixed.loc[mixed["weight"] == 0.5, "srocc"].iloc[0]
    found = {
        "srocc": trained.loc[trained["model"] == BASELINE, "srocc"].iloc[0],
        "barrier": ends["srocc"].min() - middle,
    }
    for split, prefix in (("validation", ""), ("test", "test_")):
        chosen = [_losses(part, prefix) for part in (pd.concat([ends, mixed]), trained, pd.concat([trained, mixed]))]
        corner = chosen[2].max(axis=0)
        mixed_volume, volume = (pareto.hypervolume(some, corner) for some in chosen[:2])
        found[split] = mixed_volume / volume if volume else np.nan
    return {name: float(value) for name, value in found.items()}


def _losses(rows: pd.DataFrame, prefix: str) -> pareto.Losses:
    """Of the rows on the front on validation: SROCC and the logarithm of attacked RMSE, as in `replay.py`."""
    srocc, error = (rows[name].to_numpy() for name in OBJECTIVES)
    chosen = rows[pareto.non_dominated(np.stack([-srocc, np.log(error)], axis=1))]
    return np.stack([-chosen[f"{prefix}srocc"].to_numpy(), np.log(chosen[f"{prefix}rmse_attacked"].to_numpy())], axis=1)


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


if __name__ == "__main__":
    main()
