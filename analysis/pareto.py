"""Pareto sets of losses: which trials no other trial beats, and how good the set is.

Everything here is a loss, ``(N, K)`` floats, smaller is better; `as_losses` is the one door where the sign is turned.
NaN is refused everywhere: an objective that was not measured cannot be on a front.
Sorting, hypervolume and attainment are moocore's; two objectives cost O(N log N), three cost O(N log N) per front.
"""

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

Losses = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIGN = {"minimize": 1.0, "maximize": -1.0}

# The worst value that is still worth anything, in each metric's own unit. Correlations: 0, no agreement. Score changes
# and errors: 50 of 100, half the scale; over the spread of scores, which is about 20 points, 2.5 of it. R: 0, every
# change as large as the scale allows. Gradient: the L1 norm whose FGSM change at the paper's eps = 0.005 (Theorem 1:
# eps * norm) would be those 50.
REFERENCE = {
    "srocc": 0.0,
    "plcc": 0.0,
    "krocc": 0.0,
    "rmse": 50.0,
    "rmse_attacked_relative": 2.5,
    "rmse_attacked_fitted": 2.5,
    "mean_abs_change": 50.0,
    "r_robustness": 0.0,
    "gradient_l1": 50.0 / 0.005,
}


def as_losses(values: ArrayLike, directions: Sequence[str]) -> Losses:
    """Objective values ``(N, K)`` in their own directions ("minimize" or "maximize", one per column) as losses.

    Turning twice gives the values back. Raises ValueError for NaN, for an unknown direction and for a wrong shape.
    """
    unknown = [direction for direction in directions if direction not in SIGN]
    if unknown:
        raise ValueError(f"direction must be 'minimize' or 'maximize', got {unknown[0]!r}; check the objectives")
    table = _table(values)
    if table.shape[1] != len(directions):
        raise ValueError(f"{table.shape[1]} objective columns but {len(directions)} directions; give one each")
    return table * np.array([SIGN[direction] for direction in directions])


def reference_point(objectives: Sequence[str]) -> list[float]:
    """The default hypervolume reference of each named objective, in its own unit and direction (see `REFERENCE`).

    ``rmse_attacked``, ``rmse_mos_attacked`` and ``rmse_attacked/uap`` share the reference of ``rmse``, and so on.
    """
    return [_reference(name) for name in objectives]


def non_dominated(losses: ArrayLike) -> Mask:
    """``(N,)`` mask of the points that no point beats: as good everywhere and better somewhere. Duplicates all stay."""
    table = _table(losses)
    if len(table) == 0:
        return np.zeros(0, dtype=bool)
    return np.asarray(moocore.is_nondominated(table, keep_weakly=True), dtype=bool)


def fronts(losses: ArrayLike) -> NDArray[np.int64]:
    """``(N,)`` non-domination rank: 0 on the front, 1 on the front once rank 0 is taken away, and so on (NSGA-II)."""
    table = _table(losses)
    if len(table) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.asarray(moocore.pareto_rank(table), dtype=np.int64)


def crowding(losses: ArrayLike) -> NDArray[np.float64]:
    """``(N,)`` crowding distance of points of one front (Deb et al. 2002): large where the front is sparse.

    The gap between the next smaller and the next larger *distinct* value, over the range, summed over objectives;
    infinite at either end of any objective. Copies of a point share its distance, so the row order does not matter.
    """
    table = _finite(losses)
    distance = np.zeros(len(table))
    for column in table.T:
        levels, level = np.unique(column, return_inverse=True)
        gaps = np.full(len(levels), np.inf)
        gaps[1:-1] = (levels[2:] - levels[:-2]) / (levels[-1] - levels[0] if len(levels) > 1 else 1.0)
        distance += gaps[level]
    return distance


def hypervolume(losses: ArrayLike, reference: ArrayLike) -> float:
    """Volume dominated by the points and bounded by `reference` ``(K,)``, both as losses; larger is better.

    Points not better than the reference in every objective add nothing; no points at all give 0.
    """
    table, corner = _table(losses), np.asarray(reference, dtype=np.float64)
    if corner.shape != (table.shape[1],) or not np.isfinite(corner).all():
        raise ValueError(f"the reference point needs {table.shape[1]} finite losses, got {corner.tolist()}")
    inside = table[(table < corner).all(axis=1)]
    if np.isneginf(inside).any():
        raise ValueError("hypervolume needs losses above minus infinity; an infinitely good value has no volume")
    return float(moocore.hypervolume(inside, ref=corner)) if len(inside) else 0.0


def knee(losses: ArrayLike) -> int:
    """Row of the knee: the front's point with the smallest sum of losses, each scaled to 0..1 over the front.

    For two objectives this is the point farthest from the chord between the front's two ends, towards the ideal
    (Das 1999). An objective that is constant along the front does not count. Ties go to the smaller first loss, then
    the second, so the answer does not depend on the row order except between exact copies. Raises ValueError if empty.
    """
    table = _finite(losses)
    if len(table) == 0:
        raise ValueError("a knee needs at least one point, got none; wait for a finished trial")
    rows = np.flatnonzero(non_dominated(table))
    members = table[rows]
    ideal, nadir = members.min(axis=0), members.max(axis=0)
    spread = np.where(nadir > ideal, nadir - ideal, 1.0)
    total = ((members - ideal) / spread).sum(axis=1).round(12)  # sums that differ by rounding only are ties
    return int(rows[np.lexsort((*members.T[::-1], total))[0]])


def epsilon_dominates(first: ArrayLike, second: ArrayLike, noise: ArrayLike) -> bool:
    """Whether `first` would still be at least as good as `second` everywhere if it were `noise` worse.

    `noise` (a number or one per objective, >= 0, unit of the loss) is what two measurements of one thing may differ by;
    a True answer is then a difference that noise does not explain. Zero noise is weak dominance.
    """
    return bool((np.asarray(first) + _noise(noise) <= np.asarray(second)).all())


def within_noise(losses: ArrayLike, noise: ArrayLike) -> Mask:
    """``(N,)`` mask of the points that may belong to the front: no point dominates them once they gain `noise`.

    Every non-dominated point is one; zero noise gives exactly these. Dominated ones among them are undecided.
    """
    table = _table(losses)
    members = np.unique(table[non_dominated(table)], axis=0)
    favoured = table - _noise(noise)
    no_worse = np.ones((len(table), len(members)), dtype=bool)
    better = np.zeros_like(no_worse)
    for column, member in zip(favoured.T, members.T, strict=True):
        no_worse &= member[None, :] <= column[:, None]
        better |= member[None, :] < column[:, None]
    return np.logical_not((no_worse & better).any(axis=1))


def attainment(losses: ArrayLike, seeds: ArrayLike, percent: float = 50.0) -> Losses:
    """The surface that at least `percent` % of the seeds attain, ``(M, K)``, sorted by its columns (2 or 3 objectives).

    50 is the median front over seeds (empirical attainment function, Fonseca et al. 2011). `seeds` ``(N,)`` tells
    which run each point belongs to.
    """
    table, labels = _table(losses), np.asarray(seeds)
    if len(labels) != len(table) or len(table) == 0:
        raise ValueError(f"attainment needs one seed per point, got {len(labels)} for {len(table)} points")
    if not 0 < percent <= 100:
        raise ValueError(f"percent must be in (0, 100], got {percent}")
    order = np.argsort(labels, kind="stable")  # moocore wants the rows of one set together
    surface = moocore.eaf(table[order], labels[order], percentiles=[percent])[:, :-1]
    return surface[np.lexsort(surface.T[::-1])]


def _reference(name: str) -> float:
    stems = [stem for stem in REFERENCE if name.split("/")[0].startswith(stem)]
    if not stems:
        raise ValueError(f"no default reference point for objective {name!r}; give one of your own")
    return REFERENCE[max(stems, key=len)]


def _table(losses: ArrayLike) -> Losses:
    table = np.asarray(losses, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(f"losses must be (points, objectives) with at least 2 objectives, got shape {table.shape}")
    missing = np.flatnonzero(np.isnan(table).any(axis=1))
    if len(missing):
        raise ValueError(f"row {missing[0]} has a NaN objective; leave out trials without a measured value")
    return table


def _finite(losses: ArrayLike) -> Losses:
    table = _table(losses)
    if not np.isfinite(table).all():
        raise ValueError("knee and crowding need finite losses; leave infinite objective values out")
    return table


def _noise(noise: ArrayLike) -> NDArray[np.float64]:
    size = np.asarray(noise, dtype=np.float64)
    if not (size >= 0).all():
        raise ValueError(f"noise must not be negative or NaN, got {size.tolist()}; give a standard deviation")
    return size
