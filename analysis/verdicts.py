"""When a difference counts: the rule that tables, findings and comparisons share."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import scipy.stats

from analysis.metrics import LEVEL, Interval
from trainables.objectives import objective

Claim = Literal["falls", "rises"]
"""What is claimed of a number: that it is below 0, or above."""
Verdict = Literal["holds", "does not hold", "no effect", "undecided"]

SMALLEST = {
    "srocc": 0.01,
    "plcc": 0.01,
    "krocc": 0.01,
    "rmse": 0.5,
    "rmse_attacked_relative": 0.05,
    "rmse_attacked_fitted": 0.05,
    "mean_abs_change": 0.5,
    "r_robustness": 0.05,
    "gradient_l1": 0.5 / 0.005,
    "absolute_gain": 0.5,
    "relative_gain": 0.005,
    "robustness_score": 0.05,
    "ssim": 0.01,
    "psnr": 0.5,
}
"""The smallest change of interest, in each metric's own unit. On the embedded photographs a model trained again differs
by 0.01 to 0.02 in SROCC and 0.2 to 0.5 points in attacked RMSE. R: 0.05 is changes that are a tenth smaller. Gradient:
the L1 norm whose FGSM change at the paper's eps = 0.005 would be half a point (Theorem 1: eps * norm)."""
SMALLEST_CUT = 0.05
"""A twentieth: the smallest share of attacked RMSE that is of interest."""
FEWEST_POINTS = 4
"""With fewer points no interval of a correlation is defined (Fisher's z has n - 3 in its variance)."""


def smallest_effect(name: str) -> float:
    """The smallest change of an objective that is worth having."""
    objective(name)  # refuses unknown names, with a suggestion
    return SMALLEST[max((stem for stem in SMALLEST if name.startswith(stem)), key=len)]


def verdict(change: Interval, claim: Claim, smallest: float = 0.0) -> Verdict:
    """Whether a change bears a claim out.

    "holds": the interval lies on the claimed side of 0, and the value is at least `smallest`. "does not hold": the same
    of the other side. "no effect": the whole interval is closer to 0 than `smallest`. Else "undecided".
    """
    if not change.is_bounded:
        return "undecided"
    if max(-change.low, change.high) < smallest:
        return "no effect"
    sign = 1.0 if claim == "rises" else -1.0
    nearest = max(change.low, -change.high)
    if nearest <= 0 or abs(change.value) < smallest:
        return "undecided"
    return "holds" if sign * change.value > 0 else "does not hold"


def better(change: Interval, name: str) -> Verdict:
    """Whether a change of an objective is for the better: as `verdict`, with the objective's direction."""
    return verdict(change, "rises" if objective(name).direction == "maximize" else "falls", smallest_effect(name))


def correlation_interval(found: float, points: int, level: float = LEVEL) -> Interval:
    """Spearman's correlation of so many points with its interval by Fisher's z (Bonett and Wright 2000).

    A perfect order has no interval of its own: it is taken as if one pair of neighbours stood the wrong way round, so
    that few points never give [-1, -1]. Fewer than `FEWEST_POINTS` have no interval.
    """
    if points < FEWEST_POINTS or math.isnan(found):
        return Interval(value=found, low=math.nan, high=math.nan)
    nearest = 1 - 12 / (points * (points**2 - 1))
    inside = min(max(found, -nearest), nearest)
    deviation = math.sqrt((1 + inside**2 / 2) / (points - 3))
    half = float(scipy.stats.norm.ppf((1 + level) / 2)) * deviation
    low, high = np.tanh([math.atanh(inside) - half, math.atanh(inside) + half])
    return Interval(value=found, low=float(min(low, found)), high=float(max(high, found)))
