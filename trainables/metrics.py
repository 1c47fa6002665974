"""How two lists of scores differ: the paper's five metrics (supplement S1 to S5), in float64.

`reference` is the MOS, or the scores before an attack; `compared` the predictions, or the scores after it. All take
equally long lists of finite numbers, one per image, on the 0..100 scale, and raise ValueError for anything else.
A correlation with a constant, or over one image, is undefined and is NaN, never 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats
from numpy.typing import ArrayLike, NDArray

Scores = NDArray[np.float64]

FEWEST_TO_FIT = 5
"""Images: one more than the logistic has parameters."""


BENCHMARK_EPS = 1e-6
"""What the MSU benchmark adds to a score change, on 0..1, so that R stays finite."""


def rmse(reference: ArrayLike, compared: ArrayLike) -> float:
    """Root mean squared difference, in score units; no logistic fit (S1)."""
    y, f = _pair(reference, compared)
    return float(np.sqrt(np.mean((y - f) ** 2)))


def srocc(reference: ArrayLike, compared: ArrayLike) -> float:
    """Spearman's rank correlation, ties sharing their mean rank (S2 holds only without ties)."""
    y, f = _pair(reference, compared)
    return float(scipy.stats.spearmanr(y, f).statistic) if _both_vary(y, f) else float("nan")


def plcc(reference: ArrayLike, compared: ArrayLike) -> float:
    """Pearson's correlation of the raw scores, without a fitted mapping (S4, whose print lacks the square root)."""
    y, f = _pair(reference, compared)
    return float(scipy.stats.pearsonr(y, f).statistic) if _both_vary(y, f) else float("nan")


def krocc(reference: ArrayLike, compared: ArrayLike) -> float:
    """Kendall's tau-b (S3 is tau-a; the two are equal without ties)."""
    y, f = _pair(reference, compared)
    return float(scipy.stats.kendalltau(y, f).statistic) if _both_vary(y, f) else float("nan")


def r_robustness(
    reference: ArrayLike, compared: ArrayLike, *, low: float = 0.0, high: float = 100.0, eps: float = 0.0
) -> float:
    """Mean of log10(largest possible change / change), from the scores before and after an attack (S5).

    low, high: the score range that the largest possible change is measured against; scores may leave it.
    eps: added to the change. With the default 0 an unchanged score makes R infinite (count them with `unchanged`);
    1e-6 mirrors a version of the released code. The base is 10: the paper's printed values rule out the natural log.
    """
    return float(np.mean(robustness_of_each(reference, compared, low=low, high=high, eps=eps)))


def robustness_of_each(
    reference: ArrayLike, compared: ArrayLike, *, low: float = 0.0, high: float = 100.0, eps: float = 0.0
) -> Scores:
    """What `r_robustness` is the mean of, one number per image."""
    before, after = _pair(reference, compared)
    largest = np.maximum(high - before, before - low)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log10(largest / (np.abs(before - after) + eps)))


def relative_rmse(reference: ArrayLike, compared: ArrayLike) -> float:
    """RMSE over the reference's standard deviation (divisor N): 1 is a change as large as the scores differ anyway.

    Unlike RMSE it does not fall when all scores are squeezed together. NaN where the reference is constant.
    """
    y, f = _pair(reference, compared)
    return float(np.sqrt(np.mean((y - f) ** 2)) / np.std(y)) if np.ptp(y) > 0 else float("nan")


def fitted_to(mos: ArrayLike, scores: ArrayLike) -> Callable[[ArrayLike], Scores]:
    """The usual monotone map from scores to MOS: a four-parameter logistic, fitted by least squares (VQEG 2000).

    Constant scores, fewer than `FEWEST_TO_FIT`, and a fit that does not converge give a map to NaN.
    """
    y, f = _pair(mos, scores)
    centre, spread = float(np.mean(f)), float(np.std(f))
    if spread == 0 or len(y) < FEWEST_TO_FIT:
        return lambda values: np.full(np.shape(values), np.nan)

    def logistic(z: Scores, low: float, high: float, middle: float, width: float) -> Scores:
        return np.asarray(low + (high - low) * scipy.special.expit((z - middle) / np.abs(width)))

    start = (float(y.min()), float(y.max()), 0.0, 0.5)
    try:
        with warnings.catch_warnings(action="ignore", category=scipy.optimize.OptimizeWarning):
            fit, _ = scipy.optimize.curve_fit(logistic, (f - centre) / spread, y, p0=start, maxfev=10_000)
    except RuntimeError:
        return lambda values: np.full(np.shape(values), np.nan)
    return lambda values: logistic((np.asarray(values, dtype=np.float64) - centre) / spread, *fit)


def absolute_gain(reference: ArrayLike, compared: ArrayLike) -> float:
    """Mean signed change of the scores, in their unit: what an attack that raises scores has gained.

    Source: the MSU benchmark (Antsiferova et al., AAAI 2024), whose scores are on 0..1: divide by 100 for its figure.
    """
    before, after = _pair(reference, compared)
    return float(np.mean(after - before))


def relative_gain(reference: ArrayLike, compared: ArrayLike, *, low: float = 0.0, high: float = 100.0) -> float:
    """Mean signed change over one plus the score before, with scores brought to 0..1 (source: as `absolute_gain`).

    The one keeps scores near 0 from counting without bound. low, high: the scale's ends, where the benchmark takes the
    least and largest of its clean scores.
    """
    before, after = ((scores - low) / (high - low) for scores in _pair(reference, compared))
    return float(np.mean((after - before) / (before + 1)))


def robustness_score(reference: ArrayLike, compared: ArrayLike) -> float:
    """R (S5) as the same benchmark computes it: on scores of 0..1, with 1e-6 added to the change, so never infinite."""
    before, after = (scores / 100 for scores in _pair(reference, compared))
    return r_robustness(before, after, high=1.0, eps=BENCHMARK_EPS)


def integral_robustness(budgets: ArrayLike, values: ArrayLike) -> float:
    """A measure averaged over attack budgets: the area under it, by trapezoids, over the range of the budgets.

    After the Integral Robustness Score of Chistyakova et al. (Technologies 2024), which judges a model under several
    perturbation sizes at once; with `values` of R at each budget, more is more robust. Raises ValueError for fewer than
    two different budgets.
    """
    eps, measured = _pair(budgets, values)
    order = np.argsort(eps)
    if len(np.unique(eps)) != len(eps) or len(eps) < 2:
        raise ValueError(f"an integral over budgets needs two or more different ones, got {eps.tolist()}")
    return float(np.trapezoid(measured[order], eps[order]) / np.ptp(eps))


def unchanged(reference: ArrayLike, compared: ArrayLike) -> int:
    """Number of images whose score did not change at all."""
    before, after = _pair(reference, compared)
    return int(np.count_nonzero(before == after))


def _pair(reference: ArrayLike, compared: ArrayLike) -> tuple[Scores, Scores]:
    y, f = (np.asarray(values, dtype=np.float64) for values in (reference, compared))
    if y.ndim != 1 or y.shape != f.shape or y.size == 0:
        raise ValueError(f"metrics need two equally long, non-empty lists of scores, got shapes {y.shape}, {f.shape}")
    if not (np.isfinite(y).all() and np.isfinite(f).all()):
        bad = int(np.count_nonzero(~(np.isfinite(y) & np.isfinite(f))))
        raise ValueError(f"metrics need finite scores, got NaN or infinity for {bad} of {y.size} images")
    return y, f


def _both_vary(y: Scores, f: Scores) -> bool:
    return bool(np.ptp(y) > 0 and np.ptp(f) > 0)
