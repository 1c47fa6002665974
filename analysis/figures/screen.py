"""Panels on screen: plotly, self-contained, usable offline and inside a sandboxed frame."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.panel import FADED, INK, Bars, ColorScale, Layer, Line, Panel, Points, Ticks
from analysis.figures.scale import color_at, decades
from analysis.labels import lam_text

DASH = {"solid": "solid", "dash": "dash", "dot": "dot"}
HEIGHT = 460
LINE = 16
"""Pixels of a line of text."""
LABEL_WIDTH, LABEL_HEIGHT = 40, 34
"""Characters of a label that fit along the axes of a phone."""


def to_plotly(panels: Sequence[Panel], columns: int = 1, height: int = HEIGHT) -> go.Figure:
    """Draw the panels in rows of `columns`; each row is `height` pixels high, the width is the reader's."""
    rows = math.ceil(len(panels) / columns)
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=[panel.title for panel in panels])
    for index, panel in enumerate(panels):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        named = {layer.name for earlier in panels[:index] for layer in earlier.layers}
        drawn = [_traces(layer, panel.color_scale, show_name=layer.name not in named) for layer in panel.layers]
        traces = [trace for of_layer in drawn for trace in of_layer]
        figure.add_traces(traces, rows=place["row"], cols=place["col"])
        figure.update_xaxes(**_axis(panel.x_label, LABEL_WIDTH, panel.x_log, panel.x_ticks), **place)
        figure.update_yaxes(**_axis(panel.y_label, LABEL_HEIGHT, panel.y_log, panel.y_ticks), **place)
    scale = next((panel.color_scale for panel in panels if panel.color_scale), None)
    figure.update_layout(
        template="plotly_white",
        height=height * rows,
        margin={"l": 60, "r": 20, "t": 40 if any(panel.title for panel in panels) else 15, "b": 60},
        legend={
            "orientation": "h",
            "yanchor": "top",
            "y": -_label_height(panels) / (height * rows),
            "itemsizing": "constant",
        },
        hoverlabel={"align": "left", "namelength": -1, "bgcolor": "white", "font": {"color": INK, "size": 12}},
        coloraxis=_color_axis(scale) if scale else None,
        barmode="overlay",
        font={"size": 13},
    )
    return figure


def _traces(layer: Layer, scale: ColorScale | None, *, show_name: bool) -> list[go.Scatter]:
    named = {"name": layer.name, "legendgroup": layer.name, "showlegend": bool(layer.name) and show_name}
    if isinstance(layer, Points):
        return _points(layer, named)
    if isinstance(layer, Line):
        return [_line(layer, scale, named)]
    return [_bars(layer, named)]


def _points(layer: Points, named: dict[str, Any]) -> list[go.Scatter]:
    on_scale = not isinstance(layer.color, str)
    marker: dict[str, Any] = {
        "symbol": layer.symbol + ("-open" if layer.hollow else ""),
        "size": layer.size,
        "opacity": layer.opacity,
        "line": {"width": 2.5 if layer.hollow else 0.8, "color": layer.color if layer.hollow else INK},
    }
    marker |= {"color": _log10(layer.color), "coloraxis": "coloraxis"} if on_scale else {"color": layer.color}
    trace = go.Scatter(
        x=np.asarray(layer.x),
        y=np.asarray(layer.y),
        mode="markers",
        marker=marker,
        text=list(layer.hover) or None,
        customdata=list(layer.keys) or None,
        hoverinfo="skip" if layer.hollow else None,
        hovertemplate="%{text}<extra></extra>" if layer.hover else None,
        error_x=_error(layer.error_x),
        error_y=_error(layer.error_y),
        **(named if not on_scale else {**named, "showlegend": False}),
    )
    if not (on_scale and named["showlegend"]):
        return [trace]
    # The legend explains the symbol; with the first point's colour it would seem to explain the colour as well.
    entry = {"symbol": layer.symbol, "color": FADED, "size": 10, "line": {"width": 0.8, "color": INK}}
    return [trace, go.Scatter(x=[None], y=[None], mode="markers", marker=entry, **named)]


def _log10(values: Any) -> list[float]:
    """NaN for λ = 0, which has no place on a logarithmic scale; plotly draws it in grey."""
    return [math.log10(value) if value > 0 else math.nan for value in values]


def _error(half: Any) -> dict[str, Any] | None:
    return None if half is None else {"array": np.asarray(half), "thickness": 1, "width": 3, "color": FADED}


def _line(layer: Line, scale: ColorScale | None, named: dict[str, Any]) -> go.Scatter:
    color = layer.color if isinstance(layer.color, str) else color_at(layer.color, scale)
    return go.Scatter(
        x=np.asarray(layer.x),
        y=np.asarray(layer.y),
        mode="lines+markers" if layer.markers else "lines",
        line={
            "color": color,
            "width": layer.width,
            "dash": DASH[layer.dash],
            "shape": "hv" if layer.steps else "linear",
        },
        opacity=layer.opacity,
        text=layer.hover or None,
        hovertemplate="%{text}<extra></extra>" if layer.hover else None,
        hoverinfo="all" if layer.markers or layer.hover else "skip",
        **named,
    )


def _bars(layer: Bars, named: dict[str, Any]) -> go.Bar:
    edges = np.asarray(layer.edges)
    return go.Bar(
        x=(edges[1:] + edges[:-1]) / 2,
        y=np.asarray(layer.heights),
        width=np.diff(edges),
        marker={"color": layer.color, "opacity": layer.opacity, "line": {"width": 1, "color": layer.color}},
        **named,
    )


def _label_height(panels: Sequence[Panel]) -> int:
    """Pixels under the lowest axes for tick labels and title, so that the legend stays clear of them."""
    ticks = [text.count("\n") for panel in panels if panel.x_ticks for text in panel.x_ticks.text]
    titles = [len(textwrap.wrap(panel.x_label, LABEL_WIDTH)) - 1 for panel in panels]
    return 85 + LINE * (max(ticks, default=0) + max(titles))


def _axis(label: str, width: int, log: bool, ticks: Ticks | None) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "title": {"text": "<br>".join(textwrap.wrap(label, width))},
        "type": "log" if log else "linear",
        "ticks": "outside",
    }
    axis |= {"linecolor": FADED, "zeroline": False}
    if log:
        axis |= {"exponentformat": "power", "dtick": 1}
    if ticks is not None:
        axis |= {"tickvals": list(ticks.at), "ticktext": [text.replace("\n", "<br>") for text in ticks.text]}
        axis["range"] = [ticks.at[0] - 0.3, ticks.at[-1] + 0.3]
    return axis


def _color_axis(scale: ColorScale) -> dict[str, Any]:
    ticks = decades(scale)
    return {
        "colorscale": "Viridis",
        "cmin": math.log10(scale.low),
        "cmax": math.log10(scale.high),
        "colorbar": {
            "title": {"text": scale.label},
            "tickvals": [math.log10(value) for value in ticks],
            "ticktext": [lam_text(value) for value in ticks],
            "thickness": 14,
        },
    }
