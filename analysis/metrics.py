"""Metrics of score tables with error bars: percentile bootstrap over images (Efron 1979).

The metrics themselves are `trainables.metrics` (supplement S1 to S5); the names are those of `trainables.objectives`.
The interval answers "what if other images of this kind had been drawn"; it knows nothing of other training seeds, and
where images share a content (distorted versions of one photograph) it is too narrow.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from trainables import metrics
from trainables.objectives import DEFAULT_ATTACK, objective

RESAMPLES = 1000
FEWEST_IMAGES = 3
"""Below this a resample is constant more often than not and no interval is given."""

Numbers = NDArray[np.float64]
Metric = Callable[[ArrayLike, ArrayLike], float]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value and the bounds of its confidence interval; the bounds are NaN where none can be given."""

    value: float
    low: float
    high: float


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
    return rows.sort_values("image", kind="stable")


def value(scores: pd.DataFrame, split: str, name: str) -> float:
    """One objective of a score table, the same number as `trainables.objectives.measure` gives."""
    metric, reference, compared = _ingredients(scores, split, name)
    return metric(reference, compared)


def interval(
    scores: pd.DataFrame, split: str, name: str, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """An objective with its bootstrap interval at `level`, over images drawn with replacement (`seed`)."""
    return mean_interval([scores], split, name, level=level, resamples=resamples, seed=seed)


def difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    split: str,
    name: str,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """`second` minus `first` of an objective, with the interval of the difference on the same images.

    Pairing removes what the two share, so this can exclude 0 where the single intervals overlap. Raises ValueError when
    the tables are not of the same images.
    """
    _check_same_images([first, second], split, name)
    metric, reference, compared = _ingredients(first, split, name)
    _, other_reference, other_compared = _ingredients(second, split, name)

    draws = _draws(len(reference), resamples, seed)
    changes = _resampled(metric, other_reference, other_compared, draws) - _resampled(
        metric, reference, compared, draws
    )
    return _percentiles(metric(other_reference, other_compared) - metric(reference, compared), changes, level)


def mean_interval(
    tables: Sequence[pd.DataFrame],
    split: str,
    name: str,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """An objective averaged over score tables of the same images (say, of several seeds), with its bootstrap interval.

    Every table sees the same draws of images. Raises ValueError when the tables are not of the same images.
    """
    _check_same_images(tables, split, name)
    found = [_ingredients(table, split, name) for table in tables]
    draws = _draws(len(found[0][1]), resamples, seed)
    resampled = np.mean([_resampled(*ingredients, draws) for ingredients in found], axis=0)
    centre = float(np.mean([metric(reference, compared) for metric, reference, compared in found]))
    return _percentiles(centre, resampled, level)


def _check_same_images(tables: Sequence[pd.DataFrame], split: str, name: str) -> None:
    attack = name.partition("/")[2] or DEFAULT_ATTACK
    first, *others = [rows_of(table, split, attack)["image"].tolist() for table in tables]
    for other in others:
        if other != first:
            raise ValueError(
                f"the score tables hold different images in split {split!r} ({len(first)} and {len(other)}); "
                "compare trials of studies on the same data set and split"
            )


def _ingredients(scores: pd.DataFrame, split: str, name: str) -> tuple[Metric, Numbers, Numbers]:
    """The metric behind an objective's name, and the two columns it compares."""
    objective(name)  # refuses unknown names, with a suggestion
    base, _, attack = name.partition("/")
    if base == "rmse_attacked_worst":
        raise ValueError(f"{name!r} is a maximum over attacks; ask for the interval of one attack's rmse_attacked")
    rows = rows_of(scores, split, attack or DEFAULT_ATTACK)
    columns = {column: rows[column].to_numpy(np.float64) for column in ("mos", "clean_score", "attacked_score")}
    if base == "gradient_l1":
        norms = rows["gradient_l1"].to_numpy(np.float64)
        return _mean, norms, norms
    if base in ("r_robustness", "mean_abs_change"):
        metric = metrics.r_robustness if base == "r_robustness" else _mean_abs_change
        return metric, columns["clean_score"], columns["attacked_score"]
    metric = getattr(metrics, base.partition("_")[0])
    reference = "clean_score" if base.endswith("_attacked") and not base.endswith("_mos_attacked") else "mos"
    compared = "attacked_score" if base.endswith("_attacked") else "clean_score"
    return metric, columns[reference], columns[compared]


def _mean(first: ArrayLike, _: ArrayLike) -> float:
    return float(np.mean(np.asarray(first)))


def _mean_abs_change(before: ArrayLike, after: ArrayLike) -> float:
    return float(np.mean(np.abs(np.subtract(before, after))))


def _draws(images: int, resamples: int, seed: int) -> NDArray[np.int64]:
    if images < FEWEST_IMAGES:
        return np.empty((0, images), dtype=np.int64)
    return np.random.default_rng(seed).integers(0, images, (resamples, images))


def _resampled(metric: Metric, reference: Numbers, compared: Numbers, draws: NDArray[np.int64]) -> Numbers:
    """The metric on each row of `draws`; correlations of all rows at once, for one by one they take seconds."""
    if len(draws) and metric is metrics.krocc:
        return _tau_b(reference, compared, draws)
    if len(draws) and metric in (metrics.plcc, metrics.srocc):
        y, f = reference[draws], compared[draws]
        if metric is metrics.srocc:
            y, f = scipy.stats.rankdata(y, axis=1), scipy.stats.rankdata(f, axis=1)
        with warnings.catch_warnings(action="ignore", category=scipy.stats.ConstantInputWarning):
            return np.asarray(scipy.stats.pearsonr(y, f, axis=1).statistic)
    return np.array([metric(reference[draw], compared[draw]) for draw in draws])


def _tau_b(y: Numbers, f: Numbers, draws: NDArray[np.int64]) -> Numbers:
    """Kendall's tau-b of each resample: an image pair counts as often as its two images were drawn together."""
    counts = np.stack([np.bincount(draw, minlength=len(y)) for draw in draws]).astype(np.float64)
    order_y, order_f = (np.sign(values[:, None] - values[None, :]) for values in (y, f))

    def pairs(weights: Numbers) -> Numbers:
        return np.asarray(((counts @ weights) * counts).sum(axis=1))

    untied = pairs(np.abs(order_y)) * pairs(np.abs(order_f))
    with np.errstate(invalid="ignore"):
        return np.asarray(pairs(order_y * order_f) / np.sqrt(untied))


def _percentiles(centre: float, resampled: Numbers, level: float) -> Interval:
    """Resamples on which a correlation is undefined are left out, unless they are the majority."""
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    defined = resampled[~np.isnan(resampled)]
    if len(defined) == 0 or 2 * len(defined) < len(resampled):
        return Interval(value=centre, low=np.nan, high=np.nan)
    # An unchanged image makes R infinite; interpolating between infinities would give NaN.
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Interval(value=centre, low=float(low), high=float(high))
