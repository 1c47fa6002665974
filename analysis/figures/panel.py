"""What a figure shows, without saying how it is drawn: one definition for print (matplotlib) and screen (plotly).

A figure is a list of panels, a panel is a pair of axes and layers drawn one over the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

Symbol = Literal["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "star"]
Dash = Literal["solid", "dash", "dot"]

# Okabe and Ito's palette, told apart with any colour vision, in an order that keeps neighbours far apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
INK = "#333333"
FADED = "#9a9a9a"


@dataclass(frozen=True, kw_only=True)
class Points:
    """Markers. `color` is one colour for all, or one number per point on the panel's colour scale."""

    x: ArrayLike
    y: ArrayLike
    name: str = ""
    """Entry in the legend; none when empty."""
    color: str | Sequence[float] = PALETTE[0]
    symbol: Symbol = "circle"
    size: float | Sequence[float] = 9.0
    """Diameter on screen in pixels."""
    opacity: float = 1.0
    hollow: bool = False
    """Rings around what another layer draws; they answer no pointer."""
    error_x: ArrayLike | None = None
    error_y: ArrayLike | None = None
    """Half lengths of error bars."""
    hover: Sequence[str] = ()
    """What the screen shows at each point."""
    keys: Sequence[str] = ()
    """What a click on each point means to the page."""


@dataclass(frozen=True, kw_only=True)
class Line:
    x: ArrayLike
    y: ArrayLike
    name: str = ""
    color: str | float = INK
    """A colour, or one number on the panel's colour scale."""
    dash: Dash = "solid"
    width: float = 1.5
    opacity: float = 1.0
    markers: bool = False
    steps: bool = False
    """Keep each y until the next x: a staircase."""
    hover: str = ""


@dataclass(frozen=True, kw_only=True)
class Bars:
    """A histogram, outlined so that one shows behind another; `edges` has one number more than `heights`."""

    edges: ArrayLike
    heights: ArrayLike
    color: str
    name: str = ""
    opacity: float = 0.25


Layer = Points | Line | Bars


@dataclass(frozen=True, kw_only=True)
class ColorScale:
    """What the colours of a panel's points and lines mean (viridis, logarithmic)."""

    label: str
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Ticks:
    at: Sequence[float]
    text: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Panel:
    layers: Sequence[Layer]
    x_label: str
    y_label: str
    title: str = ""
    x_log: bool = False
    y_log: bool = False
    x_ticks: Ticks | None = None
    y_ticks: Ticks | None = None
    color_scale: ColorScale | None = None
