"""Metrics of score tables with error bars over photographs, and over training seeds where there are several.

The metrics themselves are `trainables.metrics` (supplement S1 to S5); the names are those of `trainables.objectives`.
An interval answers "what if other photographs of this kind had been drawn, and other seeds". Photographs are resampled
(bootstrap, Efron 1979), with all images made of one (`content`) together; of seeds the spread between them counts.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import NDArray

from analysis import resampling
from trainables import metrics
from trainables.objectives import DEFAULT_ATTACK, objective

if TYPE_CHECKING:
    from analysis.resampling import Weighted

RESAMPLES = 1000
FEWEST_PHOTOGRAPHS = 3
"""Below this a resample is of one photograph more often than not and no interval is given."""
LEVEL = 0.95

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value and the bounds of its confidence interval; the bounds are NaN where none can be given."""

    value: float
    low: float
    high: float

    @property
    def is_bounded(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A number of each seed, measured on all photographs and on resamples of them. Samples of the same images can be
    added, subtracted and divided: their resamples are the same ones, so what they share cancels."""

    values: Numbers
    """(S,) a seed each."""
    resampled: Numbers
    """(S, R)"""
    photographs: int
    lowest: float = -math.inf
    highest: float = math.inf
    """Which values there can be; no interval reaches beyond."""

    def __sub__(self, other: Sample) -> Sample:
        return self._with(other, operator.sub)

    def __add__(self, other: Sample) -> Sample:
        return self._with(other, operator.add)

    def __truediv__(self, other: Sample | float) -> Sample:
        with np.errstate(divide="ignore", invalid="ignore"):
            if isinstance(other, Sample):
                return self._with(other, operator.truediv)
            return Sample(values=self.values / other, resampled=self.resampled / other, photographs=self.photographs)

    def interval(self, level: float = LEVEL) -> Interval:
        """The mean over seeds with Student's interval, its variance that over photographs plus that over seeds.

        Degrees of freedom: Satterthwaite's, from photographs - 1 and seeds - 1. The bootstrap's variance over G
        photographs is G / (G - 1) times too small, which is put right. Resamples on which the number is undefined are
        left out, unless they are the majority.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be in (0, 1), got {level}")
        centre, seeds, photographs = float(np.mean(self.values)), len(self.values), self.photographs
        over_seeds = self.resampled.mean(axis=0)
        defined = over_seeds[np.isfinite(over_seeds)]
        too_few = photographs < FEWEST_PHOTOGRAPHS or 2 * len(defined) < len(over_seeds)
        if too_few or not np.isfinite(self.values).all():
            return Interval(value=centre, low=math.nan, high=math.nan)
        parts = [(float(np.var(defined)) * photographs / (photographs - 1), photographs - 1)]
        if seeds > 1:
            parts.append((float(np.var(self.values, ddof=1)) / seeds, seeds - 1))
        half = _half_width(parts, level)
        return Interval(value=centre, low=max(centre - half, self.lowest), high=min(centre + half, self.highest))

    def _with(self, other: Sample, combine: Callable[[Numbers, Numbers], Numbers]) -> Sample:
        """Seed by seed, as far as both have them."""
        seeds = min(len(self.values), len(other.values))
        return Sample(
            values=combine(self.values[:seeds], other.values[:seeds]),
            resampled=combine(self.resampled[:seeds], other.resampled[:seeds]),
            photographs=self.photographs,
        )


def rows_of(scores: pd.DataFrame, split: str, attack: str = DEFAULT_ATTACK) -> pd.DataFrame:
    """The rows of one split and attack, sorted by image. Raises ValueError when there is none."""
    rows = scores[(scores["split"] == split) & (scores["attack"] == attack)]
    if rows.empty:
        trial = scores.attrs.get("trial", "this trial")
        found = ", ".join(sorted(scores["attack"].unique())) or "none"
        raise ValueError(
            f"the score table of {trial} has no rows of split {split!r} and attack {attack!r} (attacks: {found}); "
            "evaluate the trial with that attack"
        )
    return rows if rows["image"].is_monotonic_increasing else rows.sort_values("image", kind="stable")


def value(scores: pd.DataFrame, split: str, name: str) -> float:
    """One objective of a score table, the same number as `trainables.objectives.measure` gives."""
    found = _measured(scores, split, name)
    return float(found.metric(found.reference, found.compared, np.ones((1, len(found.reference))))[0])


def sample(
    tables: Sequence[pd.DataFrame], split: str, name: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> Sample:
    """An objective of score tables of the same images, one per training seed, on the same resamples of photographs.

    Raises ValueError when the tables are not of the same images.
    """
    found = [_measured(table, split, name) for table in tables]
    _check_same_images(found, split)
    contents = found[0].contents
    weights, which = resampling.draws(contents, resamples, seed)
    everything = np.ones((1, len(contents)))
    lowest, highest = _range(name)
    return Sample(
        values=np.array([of.metric(of.reference, of.compared, everything)[0] for of in found]),
        resampled=np.array([of.metric(of.reference, of.compared, weights)[which] for of in found]),
        photographs=len(set(contents)),
        lowest=lowest,
        highest=highest,
    )


def interval(
    scores: pd.DataFrame, split: str, name: str, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """An objective with its interval over photographs at `level`."""
    return sample([scores], split, name, resamples=resamples, seed=seed).interval(level)


def mean_interval(tables: Sequence[pd.DataFrame], split: str, name: str, *, level: float = LEVEL) -> Interval:
    """An objective averaged over score tables of the same images, one per seed; over photographs and seeds."""
    return sample(tables, split, name).interval(level)


def difference(
    first: Sequence[pd.DataFrame], second: Sequence[pd.DataFrame], split: str, name: str, *, level: float = LEVEL
) -> Interval:
    """`second` minus `first` of an objective: on the same photographs, seed by seed as far as both have them.

    Pairing removes what the two share, so this can exclude 0 where the single intervals overlap. Raises ValueError when
    the tables are not of the same images.
    """
    _check_same_images([_measured(table, split, name) for table in (*first, *second)], split)
    return (sample(second, split, name) - sample(first, split, name)).interval(level)


def average(samples: Sequence[Sample]) -> Sample:
    """The mean of samples of the same photographs, as of several attacks; seed by seed as far as all have them."""
    return functools.reduce(operator.add, samples) / len(samples)


def _half_width(parts: Sequence[tuple[float, int]], level: float) -> float:
    """Of Student's interval of a sum of independent errors, each (variance, degrees of freedom)."""
    variance = sum(part for part, _ in parts)
    if not variance:
        return 0.0
    freedom = variance**2 / sum(part**2 / own for part, own in parts)
    return float(scipy.stats.t.ppf((1 + level) / 2, freedom) * math.sqrt(variance))


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """What an objective is computed from: the metric and the two columns it compares."""

    metric: Weighted
    reference: Numbers
    compared: Numbers
    contents: tuple[str, ...]
    images: list[str]


def _check_same_images(measured: Sequence[_Measured], split: str) -> None:
    first, *others = measured
    for other in others:
        if other.images != first.images:
            raise ValueError(
                f"the score tables hold different images in split {split!r} ({len(first.images)} and "
                f"{len(other.images)}); compare trials of studies on the same data set and split"
            )


def _measured(scores: pd.DataFrame, split: str, name: str) -> _Measured:
    objective(name)  # refuses unknown names, with a suggestion
    base, _, attack = name.partition("/")
    if base == "rmse_attacked_worst":
        raise ValueError(f"{name!r} is a maximum over attacks; ask for the interval of one attack's rmse_attacked")
    rows = rows_of(scores, split, attack or DEFAULT_ATTACK)
    metric, reference, compared = _ingredients(rows, base)
    return _Measured(
        metric=metric,
        reference=reference,
        compared=compared,
        contents=tuple(rows["content"]),
        images=rows["image"].tolist(),
    )


def _ingredients(rows: pd.DataFrame, base: str) -> tuple[Weighted, Numbers, Numbers]:
    mos, clean, attacked, norms = (
        rows[column].to_numpy(np.float64) for column in ("mos", "clean_score", "attacked_score", "gradient_l1")
    )
    if base == "gradient_l1":
        return resampling.mean, norms, norms
    if base == "r_robustness":
        return resampling.mean, metrics.robustness_of_each(clean, attacked), norms
    if base == "mean_abs_change":
        return resampling.mean, np.abs(attacked - clean), norms
    if base == "robustness_score":
        each = metrics.robustness_of_each(clean / 100, attacked / 100, high=1.0, eps=metrics.BENCHMARK_EPS)
        return resampling.mean, each, norms
    if base == "absolute_gain":
        return resampling.mean, attacked - clean, norms
    if base == "relative_gain":
        return resampling.mean, (attacked - clean) / (clean + 100), norms
    if base in ("ssim", "psnr"):
        return resampling.mean, rows[base].to_numpy(np.float64), norms
    if base == "rmse_attacked_relative":
        return resampling.relative_rmse, clean, attacked
    if base == "rmse_attacked_fitted":
        # The map belongs to the model: it is fitted to all its clean scores, and held while photographs are drawn.
        to_mos = metrics.fitted_to(mos, clean)
        return resampling.relative_rmse, to_mos(clean), to_mos(attacked)
    metric: Weighted = getattr(resampling, base.partition("_")[0])
    is_about_change = base.endswith("_attacked") and not base.endswith("_mos_attacked")
    return metric, clean if is_about_change else mos, attacked if base.endswith("_attacked") else clean


def _range(name: str) -> tuple[float, float]:
    base = name.partition("/")[0]
    if base.startswith(("srocc", "plcc", "krocc")):
        return -1.0, 1.0
    is_signed = base in ("r_robustness", "robustness_score", "absolute_gain", "relative_gain")
    return (-math.inf if is_signed else 0.0), math.inf
