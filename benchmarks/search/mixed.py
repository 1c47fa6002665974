"""What studies of few trials reach when their fronts are filled with mixtures: python benchmarks/search/mixed.py

Every strategy of `replay.py` that ends no trial early searches the recorded grid. A study of its first 1, 2, 3, …
trials is then filled as `nt-study` fills it (`analysis.filling`), with at most `MIXTURES` mixtures, each measured once
for all strategies from the weights that `record_grid.py` left in the cache; `mixtures.parquet` keeps the measurements,
so that the table can be made again without them. A mixture costs what its evaluation took, in epochs.

The repository's `grid.parquet` is of before weights were kept: remove it and run `record_grid.py` first.

Beside them: the grid whole, the averages of each trial's last epochs, and trials continued along λ.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import record_grid
import replay
import torch

from analysis import pareto
from analysis.filling import most_promising
from analysis.front import TrialPoint
from search_spaces.schema import load_study_file
from trainables.config import BASELINE, Mixture
from trainables.files import write_atomically
from trainables.mixture import interpolate
from trainables.models import create_model
from trainables.record import WEIGHTS
from trainables.trust import read_weights

HERE = Path(__file__).parent
TABLE = HERE / "mixtures.parquet"
"""Measured mixtures of the grid's models."""
STUDIES = HERE / "mixed.parquet"
"""What every study reached."""
MIXTURES = 12
TRIALS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24)
"""Of the studies that are filled."""
OBJECTIVES = record_grid.OBJECTIVES
Row = Mapping[Any, Any]
"""A model's name and objectives, as the tables have them."""


@dataclass(frozen=True)
class Study:
    """A search that ended after so many trials, and what its models reach of the whole grid."""

    strategy: str
    seed: int
    trials: int
    mixtures: int
    cost: float
    """Share of the epochs of the whole grid."""
    validation: float
    """Share of the hypervolume of the whole grid's front."""
    test: float
    """The same of the same models on test images."""


class Models:
    """The models of one recorded seed, trained and mixed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        table = pd.read_parquet(record_grid.GRID)
        if "kind" not in table:
            sys.exit(f"{record_grid.GRID} is of before weights were kept; remove it and run record_grid.py")
        rows = table[(table["seed"] == seed) & (table["epoch"] == record_grid.EPOCHS)]
        self.kinds = {kind: [_point(row) for row in of.to_dict("records")] for kind, of in rows.groupby("kind")}
        self.trained = {point.trial: point for point in self.kinds["trained"]}
        self.epoch_seconds = float(table.loc[table["lam"] > 0, "seconds"].median())
        self.epochs_of_mixture = float(rows["evaluation_seconds"].median()) / self.epoch_seconds
        self.cost = record_grid.EPOCHS * (len(self.trained) - 1)
        corners = [_losses(self.trained.values(), split).max(axis=0) for split in ("validation", "test")]
        self.corners = dict(zip(("validation", "test"), corners, strict=True))
        kept = pd.read_parquet(TABLE) if TABLE.exists() else pd.DataFrame({"seed": []})
        self.mixed = {row["name"]: row for row in kept[kept["seed"] == seed].to_dict("records")}

    def nearest(self, lam: float, step_size: float) -> TrialPoint:
        nt = [point for point in self.trained.values() if point.lam > 0]
        return min(
            nt,
            key=lambda point: (
                abs(np.log(point.lam / lam)),
                abs(np.log(point.step_size / step_size)),
            ),
        )

    def share(self, points: Iterable[TrialPoint], split: str) -> float:
        """Hypervolume of the models that are on the front on validation, as a share of the whole grid's."""
        found = [_on_front(some) for some in (list(points), list(self.trained.values()))]
        volumes = [pareto.hypervolume(_losses(front, split), self.corners[split]) for front in found]
        return volumes[0] / volumes[1]

    def mixture(self, mixture: Mixture) -> TrialPoint:
        """Measured now, unless it is known."""
        if mixture.name not in self.mixed:
            place = record_grid.folder_of(self.seed, "mixtures") / f"{mixture.name}.json"
            if not place.exists():
                write_atomically(place, json.dumps(dict(self._measure(mixture))).encode())
            self.mixed[mixture.name] = json.loads(place.read_text(encoding="utf-8"))
        return _point(self.mixed[mixture.name], mixture)

    def _measure(self, mixture: Mixture) -> Row:
        folders = [record_grid.folder_of(self.seed, parent) for parent in mixture.parents]
        if missing := [str(folder) for folder in folders if not (folder / WEIGHTS).exists()]:
            sys.exit(f"there are no weights in {missing[0]}; record_grid.py makes them where grid.parquet is removed")
        first, second = (read_weights(folder / WEIGHTS) for folder in folders)
        model = create_model("hyperiqa", size="small")
        model.load_state_dict(interpolate(first, second, mixture.weight))
        images, rows = record_grid.data_of(self.seed)
        values = record_grid.values_of(model.to(memory_format=torch.channels_last), images, rows)
        return {"seed": self.seed, "name": mixture.name, **values}

    def filled(self, trials: Sequence[TrialPoint], most: int = MIXTURES) -> list[TrialPoint]:
        """The trials, and the mixtures that a study of them would measure."""
        points = list(trials)
        while len(points) < len(trials) + most and (found := most_promising(points, OBJECTIVES, count=1)):
            points.append(self.mixture(found[0]))
        return points


def _point(row: Row, mixture: Mixture | None = None) -> TrialPoint:
    test = {name: float(row[f"test_{name}"]) for name in OBJECTIVES}
    validation = {name: float(row[name]) for name in OBJECTIVES}
    if mixture is not None:
        return TrialPoint(
            trial=mixture.name,
            lam=0.0,
            step_size=0.01,
            validation=validation,
            test=test,
            parents=mixture.parents,
            weight=mixture.weight,
        )
    lam, step_size = float(row["lam"]), float(row["step_size"])
    return TrialPoint(trial=str(row["name"]), lam=lam, step_size=step_size, validation=validation, test=test)


def _losses(points: Iterable[TrialPoint], split: str) -> pareto.Losses:
    """SROCC and the logarithm of attacked RMSE, as in `replay.py`."""
    of = [point.validation if split == "validation" else point.test for point in points]
    return np.array([[-values["srocc"], np.log(values["rmse_attacked"])] for values in of])


def _on_front(points: Sequence[TrialPoint]) -> list[TrialPoint]:
    on_front = pareto.non_dominated(_losses(points, "validation"))
    return [point for point, is_on in zip(points, on_front, strict=True) if is_on]


def studies_of(task: tuple[int, int]) -> list[Study]:
    """The studies of a strategy (its place in `replay.strategies`) with a seed; in a process of its own."""
    replay.quiet()
    place, seed = task
    strategy = replay.strategies()[place]
    grids = replay.read_grids()
    number = seed % len(grids)
    models = Models(number)
    study_file = load_study_file("hyperiqa", overrides={"trials": models.cost // record_grid.EPOCHS})
    order = replay.replay(grids[number], strategy, seed, study_file).finished
    found = []
    for count in TRIALS:
        chosen = {point.trial: point for point in (models.nearest(*one) for one in order[:count])}
        trials = [models.trained[BASELINE], *chosen.values()]
        for points in (trials, models.filled(trials)):
            found.append(_study(models, strategy.name, seed, count, points, len(points) - len(trials)))
    return found


def _study(models: Models, name: str, seed: int, trials: int, points: Sequence[TrialPoint], mixtures: int) -> Study:
    epochs = trials * record_grid.EPOCHS + mixtures * models.epochs_of_mixture
    shares = {split: models.share(points, split) for split in ("validation", "test")}
    return Study(name, seed, trials, mixtures, epochs / models.cost, **shares)


def rivals(seed: int) -> list[Study]:
    """The whole grid filled, its averages, and the chain along λ, alone and filled."""
    replay.quiet()
    models = Models(seed)
    grid = list(models.trained.values())
    baseline = models.trained[BASELINE]
    chain = sorted(models.kinds["continued"], key=lambda point: point.lam)
    averaged = [point for point in models.kinds["averaged"] if point.trial in models.trained]
    at_one_h = [point for point in grid if point.step_size == chain[0].step_size]
    begun = next(point for point in at_one_h if point.lam == min(record_grid.LAMS))
    filled = models.filled(grid, 2 * MIXTURES)
    found = [
        ("the whole grid", grid, 0),
        ("the whole grid, filled", filled, len(filled) - len(grid)),
        ("averages of last epochs, whole grid", averaged, 0),
        ("one h, every λ", [baseline, *at_one_h], 0),
        ("one h, continued along λ", [baseline, begun, *chain], 0),
    ]
    return [
        _study(models, name, seed, len(points) - mixtures - 1, points, mixtures) for name, points, mixtures in found
    ]


def main() -> None:
    named = {one.name: place for place, one in enumerate(replay.strategies()) if one.reduction_factor is None}
    wanted = sys.argv[1:] or list(named)
    if unknown := set(wanted) - set(named):
        sys.exit(f"there is no strategy {', '.join(sorted(unknown))}; there are: {', '.join(named)}")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        keep([study for some in pool.map(rivals, record_grid.SEEDS) for study in some])
        for name in wanted:
            tasks = [(named[name], seed) for seed in range(replay.SEEDS)]
            keep([study for some in pool.map(studies_of, tasks) for study in some])
            print(name, flush=True)


def keep(found: list[Study]) -> None:
    """Put the studies, and the mixtures measured for them, in place of those of the same strategies."""
    measured = [json.loads(path.read_text()) for path in sorted(record_grid.weights_dir().glob("*/mixtures/*.json"))]
    old = [pd.read_parquet(TABLE)] if TABLE.exists() else []
    mixtures = pd.concat([*old, pd.DataFrame(measured)]).drop_duplicates(["seed", "name"], keep="last")
    mixtures.sort_values(["seed", "name"]).to_parquet(TABLE, index=False)
    new = pd.DataFrame(found)
    known = pd.read_parquet(STUDIES) if STUDIES.exists() else new.iloc[:0]
    studies = pd.concat([known[~known["strategy"].isin(new["strategy"])], new])
    studies.to_parquet(STUDIES, index=False)
    (HERE / "mixed.md").write_text(table_of(studies), encoding="utf-8")


def table_of(studies: pd.DataFrame) -> str:
    lines = [
        "Median share of the grid's epochs until a study that ends there has so much of the grid's hypervolume on",
        "validation (in brackets: seeds that have it within half of the epochs), without and with mixtures.",
        "",
        "| strategy | 95 %, trials alone | 95 %, filled | 99 %, trials alone | 99 %, filled |",
        "|---|---|---|---|---|",
    ]
    grouped = studies[studies["strategy"].isin([one.name for one in replay.strategies()])]
    for name, of in grouped.groupby("strategy", sort=False):
        cells = [_reached(of, goal, is_filled=is_filled) for goal in replay.GOALS for is_filled in (False, True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| models | trainings | mixtures | cost | validation | test |", "|---|---|---|---|---|---|"]
    rest = studies[~studies["strategy"].isin([one.name for one in replay.strategies()])]
    for name, of in rest.groupby("strategy", sort=False):
        means = of[["trials", "mixtures", "cost", "validation", "test"]].mean()
        lines.append(
            f"| {name} | {means['trials']:.0f} | {means['mixtures']:.0f} | {means['cost']:.2f} | "
            f"{means['validation']:.3f} | {means['test']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def _reached(studies: pd.DataFrame, goal: float, *, is_filled: bool) -> str:
    """Median over seeds of the cost of the cheapest study that reaches the goal. An unfilled study is one too."""
    some = studies if is_filled else studies[studies["mixtures"] == 0]
    costs = [of.loc[of["validation"] >= goal, "cost"].min() for _, of in some.groupby("seed")]
    reached = np.isfinite(costs)
    median = float(np.median(np.where(reached, costs, np.inf)))
    return (f"{median:.3f}" if np.isfinite(median) else "never") + f" ({int(reached.sum())}/{len(costs)})"


if __name__ == "__main__":
    main()
