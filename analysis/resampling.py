"""Metrics on many resamples of photographs at once: each photograph counts as often as it was drawn.

Images that are versions of one photograph (the score table's `content`) are drawn together: they are no independent
evidence. A resample is a row of weights, ``(R, N)``: how often each image counts, whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Weighted = Callable[[Numbers, Numbers, Numbers], Numbers]
"""(N,) reference, (N,) compared, (R, N) weights -> (R,) values; NaN where undefined."""


@lru_cache(maxsize=8)
def draws(contents: tuple[str, ...], resamples: int, seed: int) -> tuple[Numbers, NDArray[np.int64]]:
    """`resamples` draws of as many photographs as there are, with replacement.

    Returns the distinct draws as weights ``(D, N)`` and which of them each resample is, ``(resamples,)``: few
    photographs can be drawn in few ways, and no way is measured twice.
    """
    names, photograph = np.unique(np.asarray(contents, dtype=object), return_inverse=True)
    chosen = np.random.default_rng(seed).integers(0, len(names), (resamples, len(names)))
    counts = np.stack([np.bincount(draw, minlength=len(names)) for draw in chosen])
    distinct, which = np.unique(counts, axis=0, return_inverse=True)
    return distinct[:, photograph].astype(np.float64), which.reshape(-1)


def mean(values: Numbers, _: Numbers, weights: Numbers) -> Numbers:
    """Weighted mean of the first list; infinite where an infinite value was drawn."""
    infinite = np.isinf(values)
    found = weights @ np.where(infinite, 0.0, values) / weights.sum(axis=1)
    return np.where(weights @ infinite > 0, np.inf, found) if infinite.any() else found


def rmse(y: Numbers, f: Numbers, weights: Numbers) -> Numbers:
    return np.sqrt(weights @ (y - f) ** 2 / weights.sum(axis=1))


def spread(y: Numbers, _: Numbers, weights: Numbers) -> Numbers:
    """Standard deviation (divisor N) of the first list."""
    centred = y - y.mean()
    total = weights.sum(axis=1)
    variance = weights @ centred**2 / total - (weights @ centred / total) ** 2
    return np.where(_varies(y, weights), np.sqrt(np.maximum(variance, 0)), 0.0)


def relative_rmse(y: Numbers, f: Numbers, weights: Numbers) -> Numbers:
    """RMSE over the standard deviation of the first list."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(_varies(y, weights), rmse(y, f, weights) / spread(y, f, weights), np.nan)


def plcc(y: Numbers, f: Numbers, weights: Numbers) -> Numbers:
    return _pearson(np.broadcast_to(y, weights.shape), np.broadcast_to(f, weights.shape), weights, _vary(y, f, weights))


def srocc(y: Numbers, f: Numbers, weights: Numbers) -> Numbers:
    return _pearson(_ranks(y, weights), _ranks(f, weights), weights, _vary(y, f, weights))


def krocc(y: Numbers, f: Numbers, weights: Numbers) -> Numbers:
    """Kendall's tau-b: a pair of images counts as often as its two images were drawn together."""
    concordant = np.sign(y[:, None] - y[None, :]) * np.sign(f[:, None] - f[None, :])
    pairs = ((weights @ concordant) * weights).sum(axis=1)
    untied = _untied(y, weights) * _untied(f, weights)
    with np.errstate(invalid="ignore"):
        return np.asarray(pairs / np.sqrt(untied))


def _untied(values: Numbers, weights: Numbers) -> Numbers:
    """The ordered pairs of images drawn whose values differ."""
    together = _tie_groups(values, weights)[0]
    return np.asarray(weights.sum(axis=1) ** 2 - (together**2).sum(axis=1))


def _ranks(values: Numbers, weights: Numbers) -> Numbers:
    """The mean rank of each image among those drawn, ``(R, N)``."""
    together, tied = _tie_groups(values, weights)
    middle = np.cumsum(together, axis=1) - (together - 1) / 2
    return np.asarray(middle[:, tied])


def _tie_groups(values: Numbers, weights: Numbers) -> tuple[Numbers, NDArray[np.int64]]:
    """How often each distinct value was drawn, in ascending order, ``(R, groups)``; and each image's group."""
    _, tied = np.unique(values, return_inverse=True)
    order = np.argsort(tied, kind="stable")
    starts = np.flatnonzero(np.diff(tied[order], prepend=-1))
    return np.add.reduceat(weights[:, order], starts, axis=1), tied


def _pearson(y: Numbers, f: Numbers, weights: Numbers, is_defined: NDArray[np.bool_]) -> Numbers:
    total = weights.sum(axis=1, keepdims=True)
    y, f = (values - (weights * values).sum(axis=1, keepdims=True) / total for values in (y, f))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (weights * y * f).sum(axis=1) / np.sqrt((weights * y**2).sum(axis=1) * (weights * f**2).sum(axis=1))
    return np.where(is_defined, np.clip(found, -1.0, 1.0), np.nan)


def _vary(y: Numbers, f: Numbers, weights: Numbers) -> NDArray[np.bool_]:
    return _varies(y, weights) & _varies(f, weights)


def _varies(values: Numbers, weights: Numbers) -> NDArray[np.bool_]:
    """Whether the images drawn differ: rounding must not make a correlation of constants."""
    drawn = weights > 0
    highest = np.where(drawn, values, -np.inf).max(axis=1)
    return np.asarray(highest > np.where(drawn, values, np.inf).min(axis=1))
