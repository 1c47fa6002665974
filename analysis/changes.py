"""What NT changed, with intervals, and whether that bears the paper's claims out on this data.

A claim is a metric and a direction: under every attack scores move less (RMSE), keep their order better (SROCC) and are
more robust (R); the input gradient shrinks (Theorem 1); and the price is clean rank agreement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats

from analysis.labels import title
from analysis.metrics import Interval, difference, value
from analysis.tables import Cell, Entry, Pair, Table, suffixed

CLEAN_CLAIMS = {"gradient_l1": "falls", "srocc": "falls"}
ATTACK_CLAIMS = {"rmse_attacked": "falls", "srocc_attacked": "rises", "r_robustness": "rises"}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One claim about one model, as measured: with NT minus without."""

    baseline: str
    metric: str
    claim: str
    """"falls" or "rises"."""
    difference: Interval
    """95 % interval: over images with one training seed each, over seeds with several."""

    @property
    def verdict(self) -> str:
        """Whether the interval lies on the claimed side of 0: "holds", "does not hold", or "undecided"."""
        low, high = self.difference.low, self.difference.high
        if self.claim == "falls":
            low, high = -high, -low
        return "holds" if low > 0 else "does not hold" if high < 0 else "undecided"


def changes(pair: Pair, split: str) -> list[Change]:
    """The clean claims, then those of each attack that the pair was measured under."""
    claims = dict(CLEAN_CLAIMS)
    for attack in pair.attacks:
        claims |= {suffixed(name, attack): claim for name, claim in ATTACK_CLAIMS.items()}
    return [
        Change(baseline=pair.baseline, metric=name, claim=claim, difference=_difference(pair, split, name))
        for name, claim in claims.items()
    ]


def change_table(pairs: Sequence[Pair], split: str) -> Table:
    """Every claim about every model with its change and verdict."""
    found = [(_label(change), change) for pair in pairs for change in changes(pair, split)]
    return Table(
        key="C",
        caption=f"What NT changed (with minus without) and which claims that bears out, {split} images",
        head=("model: claim (verdict)", "change [95 % interval]"),
        rows=tuple((label, (_cell(change),)) for label, change in found),
        notes=(
            "A claim holds where the whole interval lies on its side of 0 and is undecided where the interval holds 0. "
            "Intervals are over the images, paired (one seed each), or over seeds (Welch's t).",
        ),
    )


def _label(change: Change) -> str:
    return f"{change.baseline}: {title(change.metric)} {change.claim} ({change.verdict})"


def _cell(change: Change) -> Cell:
    found = change.difference
    return Cell(metric=change.metric, entries=(Entry(value=found.value, low=found.low, high=found.high),))


def _difference(pair: Pair, split: str, name: str) -> Interval:
    if len(pair.without) == len(pair.nt) == 1:
        return difference(pair.without[0], pair.nt[0], split, name)
    return _between_seeds(pair.without, pair.nt, split, name)


def _between_seeds(
    without: Sequence[pd.DataFrame], nt: Sequence[pd.DataFrame], split: str, name: str, level: float = 0.95
) -> Interval:
    """Welch's t-interval of the difference of means; NaN bounds when one side has a single seed."""
    before, after = ([value(table, split, name) for table in tables] for tables in (without, nt))
    centre = float(np.mean(after) - np.mean(before))
    if min(len(before), len(after)) < 2 or not np.isfinite([*before, *after]).all():
        return Interval(value=centre, low=np.nan, high=np.nan)
    bounds = scipy.stats.ttest_ind(after, before, equal_var=False).confidence_interval(level)
    return Interval(value=centre, low=float(bounds.low), high=float(bounds.high))
