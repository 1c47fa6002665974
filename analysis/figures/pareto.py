"""The Pareto plot: clean accuracy against attacked error, one point per trial.

Colour is λ, symbol the nearest decade of h, size the epochs trained; a cross is a mixture of two trials, coloured by
their λ, weighted. Dominated trials are faded, the baseline is a star, rings mark the knee and the paper's setting.
`pareto_html` is the interactive page, `pareto_png` the print.
"""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from analysis.figures.bundle import plotly_scripts
from analysis.figures.panel import INK, PALETTE, Layer, Line, Panel, Points, Symbol
from analysis.figures.printed import to_matplotlib, to_png
from analysis.figures.scale import scale_over
from analysis.figures.screen import to_plotly
from analysis.front import Front, Split, TrialPoint, counted, finite_or_none
from analysis.labels import axis_label, number, title

SYMBOLS: tuple[Symbol, ...] = ("circle", "square", "diamond", "triangle-up", "triangle-down")
MIXED: Symbol = "cross"
SMALLEST, LARGEST = 8.0, 13.0
"""Diameters in pixels between which the number of epochs is shown."""
CHEAPEST, DEAREST = 6.0, 18.0
"""The same between which the cost of training is shown, where defences are compared."""
FADED_OPACITY = 0.35
HOVER_LINES = 16
"""More metrics than this are left to the detail panel, those of other attacks first."""


def pareto_panel(front: Front, split: Split = "validation") -> Panel:
    """One study: x the second objective (robustness), y the first (accuracy), measured on `split`.

    On test, the points that were chosen on validation are joined without claiming to be a front.
    """
    layers: list[Layer] = [_front_line(front, split, INK), *_decade_legend(front)]
    layers += _trial_layers(front, front.dominated, split, opacity=FADED_OPACITY)
    layers += _trial_layers(front, front.members, split)
    baseline = front.baseline
    if baseline:
        layers.append(_points(front, [baseline], split, name="baseline, λ = 0", color=INK, symbol="star"))
    if not front.doubt:
        layers.append(_ring(front, [front.knee], split, "knee", PALETTE[1], "circle", 20.0))
    paper = [point for point in front.points if point.is_paper_setting]
    if paper:
        layers.append(_ring(front, paper, split, "paper's λ and h", PALETTE[0], "square", 17.0))
    return Panel(
        layers=layers,
        x_label=axis_label(front.objectives[1]),
        y_label=axis_label(front.objectives[0]),
        color_scale=scale_over("λ", [point.lam for point in front.points]),
    )


def comparison_panel(fronts: Sequence[Front], split: Split = "validation") -> Panel:
    """Several studies over each other, a colour each; of several defences, markers grow with the cost of training.

    Raises ValueError when their objectives differ.
    """
    objectives = fronts[0].objectives
    for front in fronts:
        if front.objectives != objectives:
            raise ValueError(
                f"studies {fronts[0].study!r} and {front.study!r} have different objectives "
                f"({', '.join(objectives)}; {', '.join(front.objectives)}); compare studies of the same ones"
            )
    sizes = _by_cost(fronts) if len({front.defence for front in fronts}) > 1 else None
    layers: list[Layer] = []
    for index, front in enumerate(fronts):
        color, symbol = PALETTE[index % len(PALETTE)], SYMBOLS[index % len(SYMBOLS)]
        layers.append(_front_line(front, split, color))
        baseline = [point for point in front.points if point.is_baseline]
        dominated = [point for point in front.dominated if not point.is_baseline]
        members = [point for point in front.members if not point.is_baseline and not point.is_mixture]
        mixed = [point for point in front.members if point.is_mixture]
        layers.append(_points(front, dominated, split, color=color, symbol=symbol, opacity=FADED_OPACITY, sizes=sizes))
        layers.append(_points(front, mixed, split, color=color, symbol=MIXED))
        layers.append(_points(front, members, split, name=front.name, color=color, symbol=symbol, sizes=sizes))
        layers.append(_points(front, baseline, split, color=color, symbol="star"))
    return Panel(layers=layers, x_label=axis_label(objectives[1]), y_label=axis_label(objectives[0]))


def front_panels(fronts: Sequence[Front], split: Split = "validation") -> list[Panel]:
    """The plot of one study, or of several over each other; a third objective has a plot of its own over the same x.

    Raises ValueError when the studies' objectives differ.
    """
    shown = [fronts]
    if len(fronts[0].objectives) == 3:
        shown.append([_with_third_first(front) for front in fronts])
    return [pareto_panel(some[0], split) if len(some) == 1 else comparison_panel(some, split) for some in shown]


def pareto_png(*fronts: Front, split: Split = "validation") -> bytes:
    """`front_panels` as PNG at column width."""
    return to_png(to_matplotlib(front_panels(fronts, split), height=3.2))


def pareto_html(*fronts: Front, below: str = "") -> str:
    """The interactive page of one study or several: hover, click for all metrics, switch between validation and test.

    below: HTML to show under the plot.
    Self-contained (plotly included, half a megabyte): works offline and in a frame that allows nothing but scripts.
    """
    plots = {split: to_plotly(front_panels(fronts, split), height=520) for split in _splits(fronts)}
    data = {
        "figures": {split: json.loads(plot.to_json()) for split, plot in plots.items()},
        "trials": {_key(front, point): _details(front, point) for front in fronts for point in front.points},
        "titles": {name: title(name) for front in fronts for point in front.points for name in point.validation},
    }
    names = ", ".join(front.study for front in fronts)
    content = {
        "NAMES": html.escape(names),
        "BELOW": below,
        "SUMMARY": html.escape(" ".join(front_sentence(front) for front in fronts)),
        # "</script>" inside a JSON string would end the script that holds it.
        "DATA": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
        "PLOTLY": plotly_scripts(),
    }
    template = files("analysis").joinpath("pareto_page.html").read_text(encoding="utf-8")
    return re.sub("@([A-Z]+)@", lambda mark: content[mark[1]], template)


def _with_third_first(front: Front) -> Front:
    """The same front for a plot whose y axis is the third objective. Which trials are on it is settled already."""
    first, second, third = front.objectives
    return dataclasses.replace(front, objectives=(third, second, first))


def _splits(fronts: Sequence[Front]) -> tuple[Split, ...]:
    """The splits that can be shown: test only when every trial has its objectives there."""
    tested = all(name in point.test for front in fronts for point in front.points for name in front.objectives)
    return ("validation", "test") if tested else ("validation",)


def _front_line(front: Front, split: Split, color: str) -> Line:
    x, y = _coordinates(front, front.members, split)
    staircase = split == "validation" and len(front.objectives) == 2
    if not staircase:
        return Line(x=x, y=y, color=color, dash="dot", width=1.0, name="validation front" if split == "test" else "")
    # Members run from the accurate end to the robust one. Read from left to right, the attained accuracy rises in
    # steps as more attacked error is accepted (falls, where more is better on the x axis).
    return Line(x=x[::-1], y=y[::-1], color=color, dash="dash", width=1.0, steps=True)


def _decade_legend(front: Front) -> list[Layer]:
    """Empty layers that explain the symbols, small h first."""
    found = sorted({_decade(point) for point in front.points if point.is_nt_trial})
    explained = [(_symbol(decade), f"h ≈ {10.0**decade:g}") for decade in found]
    if any(point.is_mixture for point in front.points):
        explained.append((MIXED, "mixture of two trials"))
    return [Points(x=[], y=[], color=[], symbol=symbol, name=name) for symbol, name in explained]


def _trial_layers(front: Front, trials: Sequence[TrialPoint], split: Split, opacity: float = 1.0) -> list[Layer]:
    """One layer per decade of h, and one of mixtures; the baseline left out: it has no h."""
    by_symbol: dict[Symbol, list[TrialPoint]] = {}
    for point in trials:
        if not point.is_baseline:
            by_symbol.setdefault(MIXED if point.is_mixture else _symbol(_decade(point)), []).append(point)
    return [
        _points(front, some, split, color=[point.lam for point in some], symbol=symbol, opacity=opacity)
        for symbol, some in by_symbol.items()
    ]


def _points(
    front: Front,
    trials: Sequence[TrialPoint],
    split: Split,
    *,
    color: str | Sequence[float],
    symbol: Symbol,
    name: str = "",
    opacity: float = 1.0,
    sizes: Callable[[TrialPoint], float] | None = None,
) -> Points:
    x, y = _coordinates(front, trials, split)
    spreads = [[point.spread.get(name, 0.0) for point in trials] for name in front.objectives]
    confirmed = split == "validation" and any(point.spread for point in trials)
    return Points(
        x=x,
        y=y,
        name=name,
        color=color,
        symbol=symbol,
        size=_sizes(trials, front) if sizes is None else [sizes(point) for point in trials],
        opacity=opacity,
        error_x=spreads[1] if confirmed else None,
        error_y=spreads[0] if confirmed else None,
        hover=[_hover(front, point, split) for point in trials],
        keys=[_key(front, point) for point in trials],
    )


def _ring(
    front: Front, trials: Sequence[TrialPoint], split: Split, name: str, color: str, symbol: Symbol, size: float
) -> Points:
    x, y = _coordinates(front, trials, split)
    return Points(x=x, y=y, name=name, color=color, symbol=symbol, size=size, hollow=True)


def _coordinates(front: Front, trials: Sequence[TrialPoint], split: Split) -> tuple[list[float], list[float]]:
    accuracy, robustness = front.objectives[:2]
    values = [point.metrics(split) for point in trials]
    return [of.get(robustness, math.nan) for of in values], [of.get(accuracy, math.nan) for of in values]


def _decade(point: TrialPoint) -> int:
    """Of h; of what has none, the usual one."""
    return -2 if math.isnan(point.step_size) else round(math.log10(point.step_size))


def _symbol(decade: int) -> Symbol:
    return SYMBOLS[(decade + 3) % len(SYMBOLS)]


def _sizes(trials: Sequence[TrialPoint], front: Front) -> list[float]:
    """By epochs, relative to the longest trial of a defence; the baseline may train much longer and is the largest."""
    most = max((point.epochs for point in front.points if not point.is_baseline), default=0)
    shares = [min(1.0, point.epochs / most) if most and not point.is_mixture else 1.0 for point in trials]
    return [SMALLEST + (LARGEST - SMALLEST) * share for share in shares]


def _by_cost(fronts: Sequence[Front]) -> Callable[[TrialPoint], float]:
    """Diameters whose areas are as the passes of trials' own training, the dearest of all studies the largest."""
    most = max((point.passes for front in fronts for point in front.points if not point.is_baseline), default=0)

    def diameter(point: TrialPoint) -> float:
        return max(CHEAPEST, DEAREST * math.sqrt(point.passes / most)) if most else SMALLEST

    return diameter


def _key(front: Front, point: TrialPoint) -> str:
    return f"{front.study}/{point.trial}"


def _hover(front: Front, point: TrialPoint, split: Split) -> str:
    metrics = point.metrics(split)
    ordered = sorted(metrics, key=lambda name: (name not in front.objectives, "/" in name))
    lines = [f"<b>{html.escape(point.trial)}</b>  {point.setting}"]
    lines += [f"{html.escape(title(name))}: {number(metrics[name])}" for name in ordered[:HOVER_LINES]]
    if len(ordered) > HOVER_LINES:
        lines.append(f"click for {len(ordered) - HOVER_LINES} more")
    return "<br>".join(lines)


def _details(front: Front, point: TrialPoint) -> dict[str, Any]:
    return {
        "study": front.study,
        "trial": point.trial,
        "setting": point.setting,
        "roles": front.roles(point),
        "epochs": point.epochs,
        "run_id": point.run_id,
        "validation": finite_or_none(point.validation),
        "test": finite_or_none(point.test),
    }


def front_sentence(front: Front) -> str:
    """What the study found, in two sentences of plain text."""
    accuracy, robustness = front.objectives[:2]
    knee = front.knee.validation
    text = f"{front.study}: {counted(front.members)} of {counted(front.points)} are on the front"
    if front.doubt:
        return f"{text}; {front.doubt}."
    text += (
        f". Its knee is {front.knee.trial} ({front.knee.setting}) with {title(accuracy)} {number(knee[accuracy])} "
        f"and {title(robustness)} {number(knee[robustness])} on validation"
    )
    if front.baseline:
        without = front.baseline.validation
        text += f"; the λ = 0 baseline has {number(without[accuracy])} and {number(without[robustness])}"
    return f"{text}; {front.volume}."
