"""Figures of trials: one trial's training, and how hyperparameters and metrics hang together over all of them."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.figures.panel import INK, PALETTE, Layer, Line, Panel, Points, Ticks
from analysis.figures.scale import scale_over
from analysis.front import Front, Split, TrialPoint
from analysis.labels import axis_label, lam_text, number, title

CURVES = (
    ("train_loss", "training loss"),
    ("train_penalty", "penalty of the defence"),
    ("srocc", axis_label("srocc")),
    ("rmse_attacked", axis_label("rmse_attacked")),
)
"""Keys of an epoch's row that are drawn, where it has them."""


def training_panels(epochs: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """One trial's training curves, a panel per quantity; `epochs` are the rows of its `epochs.jsonl`.

    Stages have a colour each. Raises ValueError before the first epoch is over.
    """
    if not epochs:
        raise ValueError("there are no training curves before the first epoch is over")
    stages = list(dict.fromkeys(str(row.get("stage", "")) for row in epochs))
    panels = []
    for key, label in CURVES:
        if all(key in row for row in epochs):
            layers = [_curve(epochs, stage, key, PALETTE[index]) for index, stage in enumerate(stages)]
            panels.append(Panel(layers=layers, x_label="epoch", y_label=label))
    return panels


def _curve(epochs: Sequence[Mapping[str, Any]], stage: str, key: str, color: str) -> Line:
    rows = [row for row in epochs if str(row.get("stage", "")) == stage]
    return Line(x=[row["epoch"] for row in rows], y=[row[key] for row in rows], name=stage, color=color, markers=True)


def parallel_panel(front: Front, metrics: Sequence[str] | None = None, split: Split = "validation") -> Panel:
    """Parallel coordinates: λ, h and metrics (the objectives by default) of every trial, a line each, colour λ.

    Each axis runs from its smallest value (bottom) to its largest (top), λ and h logarithmically; dominated trials are
    faded. The baseline and mixtures have neither λ nor h: their lines span the metrics alone.
    """
    names = list(metrics or front.objectives)
    columns: dict[str, list[float]] = {
        "λ": [point.lam if point.is_nt_trial else np.nan for point in front.points],
        "h": [point.step_size if point.is_nt_trial else np.nan for point in front.points],
        **{title(name): [point.metrics(split).get(name, np.nan) for point in front.points] for name in names},
    }
    heights = np.column_stack([_scaled(values, log=label in ("λ", "h")) for label, values in columns.items()])
    layers: list[Layer] = [_trial_line(front, row, heights) for row in reversed(range(len(front.points)))]
    ticks = [_tick(label, values) for label, values in columns.items()]
    return Panel(
        layers=layers,
        x_label="",
        y_label="",
        x_ticks=Ticks(at=list(range(len(columns))), text=ticks),
        y_ticks=Ticks(at=[0.0, 1.0], text=["smallest", "largest"]),
        color_scale=scale_over("λ", [point.lam for point in front.points]),
    )


def _trial_line(front: Front, row: int, heights: Any) -> Line:
    point = front.points[row]
    shown = np.flatnonzero(np.isfinite(heights[row]))
    is_member = row < len(front.members)
    return Line(
        x=shown,
        y=heights[row][shown],
        color=INK if point.is_baseline else point.lam,
        dash="dash" if point.is_baseline else "solid",
        name="baseline, λ = 0" if point.is_baseline else "",
        opacity=1.0 if is_member or point.is_baseline else 0.3,
        width=2.0 if is_member else 1.2,
        hover=point.trial,
    )


def _scaled(values: Sequence[float], *, log: bool) -> Any:
    column = np.log10(values) if log else np.asarray(values, dtype=float)
    finite = column[np.isfinite(column)]
    if len(finite) == 0 or finite.min() == finite.max():
        return np.where(np.isfinite(column), 0.5, np.nan)
    return (column - finite.min()) / (finite.max() - finite.min())


def _tick(label: str, values: Sequence[float]) -> str:
    """What an axis shows and its range, in short lines: neighbours are close."""
    finite = [value for value in values if np.isfinite(value)]
    text = lam_text if label in ("λ", "h") else number
    ends = [text(min(finite)), f"to {text(max(finite))}"] if finite else ["–"]
    return "\n".join([*textwrap.wrap(label, 9), *ends])


def sweep_panels(
    trials: Sequence[TrialPoint],
    parameter: str = "lam",
    metrics: Sequence[str] = ("srocc", "rmse_attacked"),
    split: Split = "test",
) -> list[Panel]:
    """Metrics against λ (Figures 7, S5) or h (Table 4), a panel each; the λ=0 baseline is a dashed level.

    Trials that share the parameter's value are seeds: the line is their mean, the bars their standard deviation. Where
    the other of the two varies as well, a line would read as a curve of one setting: then the trials are drawn apart,
    coloured by the other's power of ten, with a straight trend.
    """
    if parameter not in ("lam", "step_size"):
        raise ValueError(f"a sweep is over 'lam' or 'step_size', got {parameter!r}")
    swept = [point for point in trials if point.is_nt_trial]
    if not swept:
        raise ValueError(f"a sweep over {parameter} needs trials with λ above 0, got none")
    baselines = [point for point in trials if point.lam == 0]
    positions = sorted({float(getattr(point, parameter)) for point in swept})
    return [_sweep_panel(swept, baselines, parameter, positions, name, split) for name in metrics]


def _sweep_panel(
    swept: Sequence[TrialPoint],
    baselines: Sequence[TrialPoint],
    parameter: str,
    positions: Sequence[float],
    name: str,
    split: Split,
) -> Panel:
    layers: list[Layer] = []
    if baselines:
        level = float(np.mean([point.metrics(split)[name] for point in baselines]))
        ends = [positions[0], positions[-1]]
        layers.append(Line(x=ends, y=[level, level], color=INK, dash="dash", width=1.0, name="λ = 0"))
    other = "step_size" if parameter == "lam" else "lam"
    if len({getattr(point, other) for point in swept}) > 1:
        layers += _scattered(swept, parameter, other, name, split)
    else:
        layers += _joined(swept, parameter, positions, name, split)
    label = "λ" if parameter == "lam" else "step size h (normalised units)"
    return Panel(layers=layers, x_label=label, y_label=axis_label(name), x_log=True)


def _scattered(swept: Sequence[TrialPoint], parameter: str, other: str, name: str, split: Split) -> list[Layer]:
    def at(points: Sequence[TrialPoint]) -> tuple[list[float], list[float]]:
        return [float(getattr(p, parameter)) for p in points], [p.metrics(split)[name] for p in points]

    by_decade: dict[int, list[TrialPoint]] = {}
    for point in sorted(swept, key=lambda point: float(getattr(point, other))):
        by_decade.setdefault(round(math.log10(getattr(point, other))), []).append(point)
    layers: list[Layer] = []
    x, y = at(swept)
    if len(set(x)) > 2:
        slope, height = np.polyfit(np.log10(x), y, 1)
        ends = [min(x), max(x)]
        trend = [float(height + slope * math.log10(end)) for end in ends]
        layers.append(Line(x=ends, y=trend, color=INK, dash="dot", width=1.0, name="straight trend"))
    for (decade, points), color in zip(by_decade.items(), itertools.cycle(PALETTE), strict=False):
        x, y = at(points)
        label = f"{'h' if other == 'step_size' else 'λ'} ≈ {10.0**decade:g}"
        layers.append(Points(x=x, y=y, color=color, name=label, size=7.0))
    return layers


def _joined(
    swept: Sequence[TrialPoint], parameter: str, positions: Sequence[float], name: str, split: Split
) -> list[Layer]:
    groups = [[point.metrics(split)[name] for point in swept if getattr(point, parameter) == at] for at in positions]
    means = [float(np.mean(group)) for group in groups]
    spreads = [float(np.std(group, ddof=1)) if len(group) > 1 else 0.0 for group in groups]
    return [
        Line(x=positions, y=means, color=PALETTE[0]),
        Points(x=positions, y=means, error_y=spreads, color=PALETTE[0], name="NT", size=7.0),
    ]
