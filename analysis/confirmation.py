"""What retraining with new seeds says about a front: mean and spread over seeds, and intervals.

The trials were chosen on the scores of the study's own seed, which flatters them; so only the new seeds count here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import metrics
from analysis.front import Front, finite_or_none
from analysis.pareto import as_losses, within_noise
from trainables.objectives import measure

WORST = "rmse_attacked_worst"


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """One trial's metrics over its new seeds, by split and objective name."""

    trial: str
    seeds: int
    mean: Mapping[str, Mapping[str, float]]
    std: Mapping[str, Mapping[str, float]]
    """Sample standard deviation; NaN for a single seed."""
    intervals: Mapping[str, tuple[float, float]]
    """95 % interval of each objective's mean over the seeds, on test images, over photographs and seeds."""

    def to_dict(self) -> dict[str, object]:
        return {
            "trial": self.trial,
            "seeds": self.seeds,
            "mean": {split: finite_or_none(values) for split, values in self.mean.items()},
            "std": {split: finite_or_none(values) for split, values in self.std.items()},
            "test_intervals": {name: list(limits) for name, limits in self.intervals.items()},
        }


def confirm_trial(
    trial: str, tables: Sequence[pd.DataFrame], objectives: Sequence[str], *, worst_of: Collection[str] | None = None
) -> Confirmation:
    """Sum up the score tables of a trial's retrainings, one per seed. ValueError when there is none.

    worst_of: the attacks over which the study's own scores take the worst; all by default.
    """
    if not tables:
        raise ValueError(f"trial {trial} has not been retrained yet; run: nt-study confirm")
    measured = {
        split: [measure(table, split, worst_of=worst_of) for table in tables] for split in ("validation", "test")
    }
    names = [name for name in measured["test"][0] if all(name in run for run in measured["test"])]
    values = {split: {name: [run[name] for run in runs] for name in names} for split, runs in measured.items()}
    return Confirmation(
        trial=trial,
        seeds=len(tables),
        mean={split: {name: float(np.mean(runs)) for name, runs in of.items()} for split, of in values.items()},
        std={split: {name: _std(runs) for name, runs in of.items()} for split, of in values.items()},
        intervals={name: _interval(tables, name) for name in objectives if name != WORST},
    )


def undecided(front: Front, confirmations: Sequence[Confirmation]) -> list[str]:
    """Dominated trials that the spread over seeds could put on the front.

    The noise of an objective is the root mean square of the confirmed trials' standard deviations on validation.
    """
    spreads = np.array([[of.std["validation"][name] for name in front.objectives] for of in confirmations])
    if not len(spreads) or np.isnan(spreads).any():
        return []
    points = front.points
    losses = as_losses([[point.validation[name] for name in front.objectives] for point in points], front.directions)
    possible = within_noise(losses, np.sqrt((spreads**2).mean(axis=0)))
    dominated = {point.trial for point in front.dominated}
    return [point.trial for point, may in zip(points, possible, strict=True) if may and point.trial in dominated]


def _std(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def _interval(tables: Sequence[pd.DataFrame], name: str) -> tuple[float, float]:
    found = metrics.mean_interval(tables, "test", name)
    return found.low, found.high
