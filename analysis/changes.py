"""What NT changed: a pair's difference under one attack or several, of each seed and with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.metrics import Interval, Sample, average
from analysis.tables import Pair


def change_of(pair: Pair, split: str, name: str) -> Interval:
    """A metric with NT minus without: on the same photographs, seed by seed."""
    return change(pair, split, [name]).interval()


def change(pair: Pair, split: str, names: Sequence[str]) -> Sample:
    """The mean over some metrics of NT's value minus that without."""
    return average([pair.sample(True, split, name) - pair.sample(False, split, name) for name in names])


def share_taken(pair: Pair, split: str, names: Sequence[str]) -> Sample:
    """Which share of a metric NT takes away, mean over some metrics: 1 is all of it, below 0 it adds."""
    cuts = []
    for name in names:
        without, nt = pair.sample(False, split, name), pair.sample(True, split, name)
        cuts.append((without - nt) / without)
    return replace(average(cuts), highest=1.0)
