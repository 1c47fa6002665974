"""Panels in print: matplotlib, at the width of a journal's column, readable in grey."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatterSciNotation, LogLocator
from PIL import Image

from analysis.figures.panel import FADED, INK, ColorScale, Layer, Line, Panel, Points
from analysis.figures.scale import COLORMAP, color_at

COLUMN = 3.5
"""Inches: the width of one column."""
DOTS_PER_INCH = 300
LABEL_WIDTH, LABEL_HEIGHT = 48, 26
"""Characters of a label that fit along a panel's width and height."""
LEGEND_WIDTH = 17
"""Characters of legend per inch."""
POINTS_PER_PIXEL = 0.55
"""From a size on screen to one at column width."""
MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "cross": "P",
    "star": "*",
}
DASHES = {"solid": "-", "dash": "--", "dot": ":"}
STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
}


def to_matplotlib(panels: Sequence[Panel], columns: int = 1, width: float = COLUMN, height: float = 2.6) -> Figure:
    """Draw the panels in rows of `columns`; each panel is `width` x `height` inches, legend and colour bar included."""
    rows = math.ceil(len(panels) / columns)
    with mpl.rc_context(STYLE):  # type: ignore[arg-type] # its keys are a closed list of literals in the stubs
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained", dpi=DOTS_PER_INCH)
        FigureCanvasAgg(figure)
        grid = list(figure.subplots(rows, columns, squeeze=False).ravel())
        for axes, panel in zip(grid, panels, strict=False):
            draw(axes, panel)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        scale = next((panel.color_scale for panel in panels if panel.color_scale), None)
        if scale:
            _color_bar(figure, grid, scale)
        _legend(figure, grid)
    return figure


def to_png(figure: Figure, *, is_drawing: bool = True) -> bytes:
    """The figure as PNG, the same bytes for the same figure; a drawing, which holds no photographs, in 256 colours."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    if not is_drawing:
        return buffer.getvalue()
    smaller = io.BytesIO()
    drawn = Image.open(buffer).convert("RGB").quantize(dither=Image.Dither.NONE)
    drawn.save(smaller, "png", optimize=True, dpi=(figure.dpi, figure.dpi))
    return smaller.getvalue()


def draw(axes: Axes, panel: Panel) -> None:
    """Draw one panel into axes of the caller's; legend and colour bar are the figure's."""
    x_label, y_label = textwrap.fill(panel.x_label, LABEL_WIDTH), textwrap.fill(panel.y_label, LABEL_HEIGHT)
    axes.set(xlabel=x_label, ylabel=y_label, title=panel.title)
    if panel.x_log:
        axes.set_xscale("log")
    if panel.y_log:
        axes.set_yscale("log")
    if panel.x_ticks:
        axes.set_xticks(panel.x_ticks.at, panel.x_ticks.text)
        axes.set_xlim(panel.x_ticks.at[0] - 0.3, panel.x_ticks.at[-1] + 0.3)
    if panel.y_ticks:
        axes.set_yticks(panel.y_ticks.at, panel.y_ticks.text)
    for order, layer in enumerate(panel.layers, start=3):
        _draw_layer(axes, layer, panel.color_scale, order)


def _draw_layer(axes: Axes, layer: Layer, scale: ColorScale | None, order: int) -> None:
    if isinstance(layer, Points):
        _points(axes, layer, scale, order)
    elif isinstance(layer, Line):
        axes.plot(
            np.asarray(layer.x),
            np.asarray(layer.y),
            color=layer.color if isinstance(layer.color, str) else color_at(layer.color, scale),
            linestyle=DASHES[layer.dash],
            linewidth=layer.width * 0.7,
            alpha=layer.opacity,
            marker="o" if layer.markers else None,
            markersize=3,
            drawstyle="steps-post" if layer.steps else "default",
            label=layer.name or None,
            zorder=order,
        )
    else:
        heights, edges = np.asarray(layer.heights), np.asarray(layer.edges)
        axes.stairs(heights, edges, fill=True, color=layer.color, alpha=layer.opacity, zorder=order)
        axes.stairs(heights, edges, color=layer.color, linewidth=0.8, label=layer.name or None, zorder=order)


def _points(axes: Axes, layer: Points, scale: ColorScale | None, order: int) -> None:
    x, y = np.asarray(layer.x), np.asarray(layer.y)
    if layer.error_x is not None or layer.error_y is not None:
        axes.errorbar(
            x, y, xerr=layer.error_x, yerr=layer.error_y, fmt="none", ecolor=FADED, elinewidth=0.6, zorder=order
        )
    colors = layer.color if isinstance(layer.color, str) else [color_at(value, scale) for value in layer.color]
    # A star of the same diameter looks smaller than the other symbols.
    diameter = np.asarray(layer.size) * POINTS_PER_PIXEL * (1.3 if layer.symbol == "star" else 1.0)
    axes.scatter(
        x,
        y,
        s=diameter**2,
        marker=MARKERS[layer.symbol],
        facecolors="none" if layer.hollow else colors,
        edgecolors=colors if layer.hollow else INK,
        linewidths=1.2 if layer.hollow else 0.4,
        alpha=layer.opacity,
        zorder=order,
        clip_on=False,  # all points lie inside the axes, but large symbols stand out
    )
    if layer.name:
        axes.add_line(_legend_entry(layer))


def _legend_entry(layer: Points) -> Line2D:
    """All entries of one size; grey where the colour scale colours the points, for the entry explains the symbol."""
    color = layer.color if isinstance(layer.color, str) else FADED
    return Line2D(
        [],
        [],
        linestyle="",
        marker=MARKERS[layer.symbol],
        markersize=6 if layer.symbol == "star" else 4.5,
        markerfacecolor="none" if layer.hollow else color,
        markeredgecolor=color if layer.hollow else INK,
        markeredgewidth=1.0 if layer.hollow else 0.4,
        label=layer.name,
    )


def _legend(figure: Figure, grid: Sequence[Axes]) -> None:
    entries: dict[str, Artist] = {}
    for axes in grid:
        handles, labels = axes.get_legend_handles_labels()
        entries |= {label: handle for label, handle in zip(labels, handles, strict=True) if label not in entries}
    if entries:
        longest = max(len(name) for name in entries) + 6  # the marker takes some room, too
        columns = max(1, int(figure.get_figwidth() * LEGEND_WIDTH) // longest)
        figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside lower center",
            ncols=min(columns, len(entries)),
            frameon=False,
            handletextpad=0.4,
            columnspacing=1.0,
        )


def _color_bar(figure: Figure, grid: Sequence[Axes], scale: ColorScale) -> None:
    mappable = ScalarMappable(LogNorm(scale.low, scale.high), COLORMAP)
    bar = figure.colorbar(mappable, ax=grid, aspect=25, pad=0.02)
    bar.ax.set_title(scale.label, loc="left")
    bar.ax.yaxis.set_major_locator(LogLocator())
    bar.ax.yaxis.set_major_formatter(LogFormatterSciNotation())
    bar.ax.minorticks_off()
    bar.outline.set_linewidth(0.4)
