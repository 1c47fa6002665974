"""Figures of score tables: what an attack did to each image's score, and what the gradient foretold.

`tables` maps a name for the legend ("λ = 0", "knee") to a score table; each panel shows one split and attack.
Figure numbers are those of the paper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.figures.panel import FADED, INK, PALETTE, Bars, Layer, Line, Panel, Points, Ticks
from analysis.labels import axis_label, number
from analysis.metrics import rows_of
from trainables import metrics
from trainables.objectives import DEFAULT_ATTACK

Tables = Mapping[str, pd.DataFrame]
Numbers = NDArray[np.float64]

BINS = 30
SMALLEST = 1e-3
"""Norms and changes below this, 0 among them, are drawn here on logarithmic axes."""


def before_after_panel(tables: Tables, split: str, attack: str = DEFAULT_ATTACK) -> Panel:
    """Score after the attack against before, an image a point (Figure 1); on the diagonal nothing changed."""
    layers: list[Layer] = []
    for (name, table), color in zip(tables.items(), _colors(tables), strict=True):
        rows = rows_of(table, split, attack)
        hover = [f"{row.image}<br>MOS {row.mos:.1f}" for row in rows.itertuples()]
        before, after = rows["clean_score"].to_numpy(), rows["attacked_score"].to_numpy()
        layers.append(Points(x=before, y=after, name=name, color=color, size=5.0, opacity=0.6, hover=hover))
    ends = _ends(layers)
    layers.insert(0, Line(x=ends, y=ends, color=FADED, dash="dash", width=1.0, name="no change"))
    return Panel(layers=layers, x_label="score before the attack", y_label="score after the attack", title=attack)


def change_panel(tables: Tables, split: str, attack: str = DEFAULT_ATTACK) -> Panel:
    """How far each image's score was moved, whichever way, an image a point (Figures 1, S1 to S4).

    The models stand beside each other, each with the distribution of its changes at its side; under their names the
    mean and the 95 % quantile.
    """
    changes = {name: np.abs(_change(rows_of(table, split, attack))) for name, table in tables.items()}
    edges = _edges(list(changes.values()))
    images = max(map(len, changes.values()))
    layers: list[Layer] = []
    centres, labels = [], []
    for place, ((name, change), color) in enumerate(zip(changes.items(), _colors(tables), strict=True)):
        left = 1.5 * images * place
        layers.append(Points(x=left + np.arange(len(change)), y=change, name=name, color=color, size=3.0, opacity=0.6))
        layers.append(_sideways(change, edges, left + 1.03 * images, 0.35 * images, color))
        centres.append(left + 0.7 * images)
        labels.append(f"{name}\nmean {number(float(change.mean()))}, 95 %: {number(float(np.quantile(change, 0.95)))}")
    return Panel(
        layers=layers,
        x_label=f"{split} images; at the side their distribution",
        y_label="absolute change of the score (MOS points)",
        title=attack,
        x_ticks=Ticks(at=[-0.05 * images, *centres, 1.5 * images * len(changes)], text=["", *labels, ""]),
    )


def gradient_norm_panel(tables: Tables, split: str) -> Panel:
    """Distribution over images of the L1 norm of the score's gradient in pixels, logarithmic (Figure 4)."""
    norms = {name: _log_norms(_any_attack(table, split)) for name, table in tables.items()}
    edges = _edges(list(norms.values()))
    layers: list[Layer] = []
    for (name, values), color in zip(norms.items(), _colors(tables), strict=True):
        layers.append(_histogram(values, edges, color, f"{name}, median {number(10 ** float(np.median(values)))}"))
    return Panel(layers=layers, x_label="log10 of the gradient L1 norm (MOS points per pixel unit)", y_label="density")


def gradient_robustness_panels(
    models: Mapping[str, Sequence[Mapping[str, float]]], names: Sequence[str]
) -> list[Panel]:
    """Robustness over the log of the mean gradient norm, a trained model a point (Figure 5), a panel per metric.

    models: what they are, say a baseline's name -> the metrics of its trials and seeds on one split, `gradient_l1`
    among them. A panel's title gives the correlation over all models.
    """
    panels = []
    for name in names:
        layers: list[Layer] = []
        for (label, found), color in zip(models.items(), _colors(models), strict=True):
            shown = [of for of in found if math.isfinite(of[name])]
            layers.append(
                Points(x=_log_norm_of(shown), y=[of[name] for of in shown], name=label, color=color, size=5.0)
            )
        together = [of for found in models.values() for of in found if math.isfinite(of[name])]
        panels.append(
            Panel(
                layers=layers,
                x_label="log10 of the mean gradient L1 norm (MOS points per pixel unit)",
                y_label=axis_label(name),
                title=_correlation(_log_norm_of(together), [of[name] for of in together]),
            )
        )
    return panels


def _log_norm_of(found: Sequence[Mapping[str, float]]) -> Numbers:
    return np.log10([max(of["gradient_l1"], SMALLEST) for of in found])


def _correlation(x: Numbers, y: Sequence[float]) -> str:
    return f"SROCC {number(metrics.srocc(x, y))} over {len(x)} models" if len(x) > 2 else ""


def intensity_panels(tables: Tables, split: str, attacks: Sequence[str]) -> list[Panel]:
    """Damage against visibility as an attack grows stronger (Figure 6): attacked RMSE and SROCC over mean SSIM.

    attacks: labels of one attack from weak to strong, joined by a line per table. Raises ValueError without SSIM.
    """
    panels = []
    for metric, name in ((metrics.rmse, "rmse_attacked"), (metrics.srocc, "srocc_attacked")):
        layers: list[Layer] = []
        for (label, table), color in zip(tables.items(), _colors(tables), strict=True):
            steps = [rows_of(table, split, attack) for attack in attacks]
            if any(rows["ssim"].isna().any() for rows in steps):
                raise ValueError(f"the score table of {label!r} has no SSIM of some images; evaluate the trial in full")
            x = [float(rows["ssim"].mean()) for rows in steps]
            y = [metric(rows["clean_score"], rows["attacked_score"]) for rows in steps]
            layers.append(Line(x=x, y=y, name=label, color=color, markers=True))
        panels.append(Panel(layers=layers, x_label="mean SSIM to the clean image", y_label=axis_label(name)))
    return panels


def theory_panel(tables: Tables, split: str, eps: float, attack: str = DEFAULT_ATTACK) -> Panel:
    """Measured change of each score against Theorem 1's first-order prediction, `eps` times the gradient's L1 norm.

    eps: of the attack, in [0, 1] pixel units. On the diagonal the model is linear within the attack's reach.
    """
    layers: list[Layer] = []
    for (name, table), color in zip(tables.items(), _colors(tables), strict=True):
        rows = rows_of(table, split, attack)
        predicted = np.maximum(eps * rows["gradient_l1"].to_numpy(), SMALLEST)
        measured = np.maximum(np.abs(_change(rows)), SMALLEST)
        hover = rows["image"].tolist()
        layers.append(Points(x=predicted, y=measured, name=name, color=color, size=5.0, opacity=0.6, hover=hover))
    ends = _ends(layers)
    layers.insert(0, Line(x=ends, y=ends, color=FADED, dash="dash", width=1.0, name="as predicted"))
    return Panel(
        layers=layers,
        x_label="predicted change, eps · L1 norm (MOS points)",
        y_label="measured change (MOS points)",
        title=attack,
        x_log=True,
        y_log=True,
    )


def finite_difference_panel(exact: Numbers, estimates: Mapping[float, Numbers], title: str = "") -> Panel:
    """The finite-difference estimate of the gradient's L1 norm over its exact value, against h (Section 5.3).

    exact: (N,) norms in normalised units. estimates: h -> (N,) estimates. Points are images, the line their median.
    """
    steps = sorted(estimates)
    ratios = {step: np.asarray(estimates[step]) / np.asarray(exact) for step in steps}
    x = np.concatenate([np.full(len(ratios[step]), step) for step in steps])
    y = np.concatenate([ratios[step] for step in steps])
    medians = [float(np.median(ratios[step])) for step in steps]
    return Panel(
        layers=[
            Line(x=[steps[0], steps[-1]], y=[1.0, 1.0], color=FADED, dash="dash", width=1.0, name="exact"),
            Points(x=x, y=y, color=PALETTE[0], size=5.0, opacity=0.4, name="images"),
            Line(x=steps, y=medians, color=INK, markers=True, name="median"),
        ],
        x_label="step size h (normalised units)",
        y_label="estimated / exact L1 norm",
        title=title,
        x_log=True,
    )


def _colors(tables: Mapping[str, object]) -> list[str]:
    return [PALETTE[index % len(PALETTE)] for index in range(len(tables))]


def _change(rows: pd.DataFrame) -> Numbers:
    return (rows["attacked_score"] - rows["clean_score"]).to_numpy(np.float64)


def _any_attack(table: pd.DataFrame, split: str) -> pd.DataFrame:
    """The clean columns repeat under every attack; any one of them will do."""
    return rows_of(table, split, str(table["attack"].iloc[0]))


def _log_norms(rows: pd.DataFrame) -> Numbers:
    return np.log10(np.maximum(rows["gradient_l1"].to_numpy(np.float64), SMALLEST))


def _edges(samples: Sequence[Numbers]) -> Numbers:
    """Common bins, so that heights can be compared."""
    together = np.concatenate(samples)
    return np.histogram_bin_edges(together, bins=BINS)


def _histogram(values: Numbers, edges: Numbers, color: str, name: str = "") -> Bars:
    heights, _ = np.histogram(values, bins=edges, density=True)
    return Bars(edges=edges, heights=heights, color=color, name=name)


def _sideways(values: Numbers, edges: Numbers, left: float, width: float, color: str) -> Line:
    """A histogram that stands on its side at `left`, its fullest bin `width` long."""
    counts, _ = np.histogram(values, bins=edges)
    lengths = np.repeat(left + width * counts / max(1, counts.max()), 2)
    return Line(x=[left, *lengths, left], y=[edges[0], *np.repeat(edges, 2)[1:-1], edges[-1]], color=color)


def _ends(layers: Sequence[Layer]) -> list[float]:
    points = [np.concatenate([layer.x, layer.y]) for layer in layers if isinstance(layer, Points)]
    together = np.concatenate(points)
    return [float(together.min()), float(together.max())]
