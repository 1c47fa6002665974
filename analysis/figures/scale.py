"""The logarithmic colour scale, the same in print and on screen."""

from __future__ import annotations

import math
from collections.abc import Iterable

import matplotlib as mpl
from matplotlib.colors import LogNorm, to_hex

from analysis.figures.panel import INK, ColorScale

COLORMAP = "viridis"


def scale_over(label: str, values: Iterable[float]) -> ColorScale | None:
    """A scale that holds all positive values, at least a factor of ten long; None when there is none."""
    positive = [value for value in values if value > 0]
    if not positive:
        return None
    low, high = min(positive), max(positive)
    if high < 10 * low:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(10), middle * math.sqrt(10)
    return ColorScale(label=label, low=low, high=high)


def color_at(value: float, scale: ColorScale | None) -> str:
    """The colour of a value, as ``#rrggbb``; values that the scale cannot hold (λ = 0) are ink."""
    if scale is None or value <= 0:
        return INK
    return to_hex(mpl.colormaps[COLORMAP](LogNorm(scale.low, scale.high)(value)))


def decades(scale: ColorScale) -> list[float]:
    """The powers of ten on the scale."""
    first, last = math.ceil(math.log10(scale.low) - 1e-9), math.floor(math.log10(scale.high) + 1e-9)
    return [10.0**power for power in range(first, last + 1)]
