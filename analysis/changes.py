"""What NT changed, with intervals, and whether that bears the paper's claims out on this data.

A claim is a metric and a direction: under every attack scores move less (RMSE), keep their order better (SROCC) and are
more robust (R); the input gradient shrinks (Theorem 1); and the price is clean rank agreement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.stats

from analysis.labels import title
from analysis.metrics import Interval, difference, value
from analysis.tables import Cell, Entry, Pair, Table, suffixed

Claim = Literal["falls", "rises"]
CLEAN_CLAIMS: dict[str, Claim] = {"gradient_l1": "falls", "srocc": "falls"}
ATTACK_CLAIMS: dict[str, Claim] = {"rmse_attacked": "falls", "srocc_attacked": "rises", "r_robustness": "rises"}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One claim about one model, as measured: with NT minus without."""

    baseline: str
    metric: str
    claim: Claim
    difference: Interval
    """95 % interval: over images with one training seed each, over seeds with several."""

    @property
    def verdict(self) -> str:
        return verdict(self.difference, self.claim)


def verdict(change: Interval, claim: Claim) -> str:
    """Whether the interval lies on the claimed side of 0: "holds", "does not hold", or "undecided"."""
    low, high = (-change.high, -change.low) if claim == "falls" else (change.low, change.high)
    return "holds" if low > 0 else "does not hold" if high < 0 else "undecided"


def changes(pair: Pair, split: str) -> list[Change]:
    """The clean claims, then those of each attack that the pair was measured under."""
    claims = dict(CLEAN_CLAIMS)
    for attack in pair.attacks:
        claims |= {suffixed(name, attack): claim for name, claim in ATTACK_CLAIMS.items()}
    return [
        Change(baseline=pair.name, metric=name, claim=claim, difference=change_of(pair, split, name))
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
            "Intervals are of paired differences: over images with one seed, over seeds (Student's t) with several.",
        ),
    )


def _label(change: Change) -> str:
    return f"{change.baseline}: {title(change.metric)} {change.claim} ({change.verdict})"


def _cell(change: Change) -> Cell:
    found = change.difference
    return Cell(metric=change.metric, entries=(Entry(value=found.value, low=found.low, high=found.high),))


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
