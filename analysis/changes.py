"""What NT changed, with intervals, and whether that bears a claim out on this data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.stats

from analysis.metrics import Interval, difference, value
from analysis.tables import Pair

Claim = Literal["falls", "rises"]
"""What is claimed of a number: that it is below 0, or above."""


def verdict(change: Interval, claim: Claim) -> str:
    """Whether the interval lies on the claimed side of 0: "holds", "does not hold", or "undecided"."""
    low, high = (-change.high, -change.low) if claim == "falls" else (change.low, change.high)
    return "holds" if low > 0 else "does not hold" if high < 0 else "undecided"


def change_of(pair: Pair, split: str, name: str) -> Interval:
    """A metric with NT minus without, paired: over seeds, or over images where both have but one seed in common."""
    by_seed = seed_changes(pair, split, name)
    return over_seeds(by_seed) if len(by_seed) > 1 else difference(pair.without[0], pair.nt[0], split, name)


def seed_changes(pair: Pair, split: str, name: str) -> list[float]:
    """A metric with NT minus without, for every seed that both have."""
    seeds = zip(pair.without, pair.nt, strict=False)
    return [value(nt, split, name) - value(without, split, name) for without, nt in seeds]


def over_seeds(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean of a seed's number each with Student's t-interval; NaN bounds for a single seed."""
    centre = float(np.mean(values))
    if len(values) < 2 or not np.isfinite(values).all():
        return Interval(value=centre, low=np.nan, high=np.nan)
    half = scipy.stats.sem(values) * scipy.stats.t.ppf((1 + level) / 2, len(values) - 1)
    return Interval(value=centre, low=centre - float(half), high=centre + float(half))
