"""Where a mixture promises most: the gaps of a trained front, and which of them to look into next.

A path joins two trained trials; what is known of it are the mixtures that were measured. Its middle is always measured
first: a path whose middle ranks images worse than both of its ends has a barrier and is left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from analysis import pareto
from analysis.front import TrialPoint, directions_of, losses_of
from trainables.config import Mixture, in_order

BARRIER = 0.05
"""SROCC by which a path's middle may be below the worse of its ends; what two seeds of one small training differ by."""
SMALLEST_GAIN = 0.0001
"""A gap is left open when it promises less than this share of the front's hypervolume. What the number of mixtures
does not bound, this does: near its ends a front is full long before its area says so."""
NARROWEST = 1 / 64
"""Shares of a path closer than this are not told apart."""


@dataclass(frozen=True, kw_only=True)
class MixturePath:
    """Two trained trials and what has been measured between them."""

    ends: tuple[TrialPoint, TrialPoint]
    """In the order of `in_order`."""
    between: tuple[TrialPoint, ...]
    """Mixtures, by weight."""

    @property
    def barrier(self) -> float | None:
        """SROCC that the middle lacks to the worse of the two ends; negative where it has more, None when not known."""
        middle = [point for point in self.between if point.weight == 0.5]
        if not middle:
            return None
        return min(end.validation["srocc"] for end in self.ends) - middle[0].validation["srocc"]

    @property
    def is_blocked(self) -> bool:
        return self.barrier is not None and self.barrier > BARRIER

    def at(self, weight: float) -> Mixture:
        return Mixture.of(self.ends[0].trial, self.ends[1].trial, weight)

    def gaps(self) -> list[tuple[tuple[float, TrialPoint], tuple[float, TrialPoint]]]:
        """Neighbours along the path, each as weight and model."""
        known = [(0.0, self.ends[0]), *((float(p.weight or 0), p) for p in self.between), (1.0, self.ends[1])]
        return list(pairwise(known))


def paths(points: Iterable[TrialPoint], objectives: Sequence[str]) -> list[MixturePath]:
    """The paths worth filling: between neighbours of the trained front, and from its one end to the other."""
    known = list(points)
    trained = [point for point in known if not point.is_mixture]
    if not trained:
        return []
    losses = losses_of(trained, objectives)
    on_front = np.flatnonzero(pareto.non_dominated(losses))
    front = [trained[row] for row in on_front[np.lexsort(losses[on_front].T[::-1])]]
    pairs = list(pairwise(front))
    if len(front) > 2:
        pairs.append((front[0], front[-1]))
    return [path_between(first, second, known) for first, second in pairs]


def path_between(first: TrialPoint, second: TrialPoint, points: Iterable[TrialPoint]) -> MixturePath:
    """The path between two trained trials, with those of `points` that lie on it."""
    low, high = sorted((first, second), key=lambda point: in_order(point.trial))
    between = [point for point in points if point.parents == (low.trial, high.trial)]
    return MixturePath(ends=(low, high), between=tuple(sorted(between, key=lambda point: point.weight or 0)))


def most_promising(
    points: Sequence[TrialPoint],
    objectives: Sequence[str],
    *,
    count: int,
    tried: Collection[str] = (),
) -> list[Mixture]:
    """Up to `count` mixtures to measure next, the one that promises most hypervolume first; none when it is enough.

    points: every finished trial and mixture, with finite validation objectives. tried: names of mixtures that came to
    nothing, which are not asked for again. What a gap promises is what the front gains from a point halfway between the
    middle of the gap's ends and the best of both of them in every objective.
    """
    if not points:
        return []
    corner = pareto.as_losses([pareto.reference_point(objectives)], directions_of(objectives))[0]
    losses = losses_of(points, objectives)
    volume = pareto.hypervolume(losses, corner)
    found: dict[Mixture, float] = {}
    for path in paths(points, objectives):
        if path.is_blocked:
            continue
        for (low, first), (high, second) in path.gaps():
            mixture = path.at((low + high) / 2)
            if high - low < 2 * NARROWEST or mixture.name in tried:
                continue
            ends = losses_of([first, second], objectives)
            hoped = (ends.mean(axis=0) + ends.min(axis=0)) / 2
            gain = pareto.hypervolume(np.vstack([losses, hoped]), corner) - volume
            if gain > SMALLEST_GAIN * volume:
                found[mixture] = gain
    return sorted(found, key=lambda mixture: -found[mixture])[:count]
