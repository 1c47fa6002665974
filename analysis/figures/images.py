"""Adversarial examples: clean image, attacked image, and their difference made visible (Figures S6 to S8)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures.printed import COLUMN, DOTS_PER_INCH, STYLE, to_png

Pixels = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Example:
    """One image under one attack."""

    name: str
    clean: Pixels
    """(H, W, 3), RGB in [0, 1]."""
    attacked: Pixels
    clean_score: float
    """On 0..100."""
    attacked_score: float
    ssim: float

    def __post_init__(self) -> None:
        for role, image in (("clean", self.clean), ("attacked", self.attacked)):
            if image.ndim != 3 or image.shape[2] != 3 or image.min() < 0 or image.max() > 1:
                raise ValueError(
                    f"{self.name}: the {role} image must be (H, W, 3) in [0, 1], got {image.shape} in "
                    f"[{image.min():g}, {image.max():g}]"
                )
        if self.clean.shape != self.attacked.shape:
            raise ValueError(f"{self.name}: sizes differ, clean {self.clean.shape} and attacked {self.attacked.shape}")


def example_grid(examples: Sequence[Example], amplification: float = 20.0) -> Figure:
    """A row per image: clean, attacked, and mid-grey plus `amplification` times the difference; scores underneath."""
    if not examples:
        raise ValueError("a grid of examples needs at least one image")
    with mpl.rc_context(STYLE):  # type: ignore[arg-type] # its keys are a closed list of literals in the stubs
        height = COLUMN / 3 + 0.2
        figure = Figure(figsize=(COLUMN, height * len(examples) + 0.2), layout="constrained", dpi=DOTS_PER_INCH)
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(examples), 3, squeeze=False)
        for row, example in zip(grid, examples, strict=True):
            difference = (example.attacked - example.clean) * amplification
            _show(row[0], example.clean, f"{example.clean_score:.1f}")
            _show(row[1], example.attacked, f"{example.attacked_score:.1f} (SSIM {example.ssim:.3f})")
            _show(row[2], np.clip(0.5 + difference, 0, 1), f"{example.attacked_score - example.clean_score:+.1f}")
            row[0].set_ylabel(example.name, fontsize=6)
        for axes, title in zip(grid[0], ("clean", "attacked", f"difference × {amplification:g}"), strict=True):
            axes.set_title(title)
    return figure


@dataclass(frozen=True, kw_only=True)
class Graded:
    """Images under attacks of rising intensity, on several models."""

    attacks: tuple[str, ...]
    """What they are called, the weakest first."""
    rows: tuple[tuple[str, tuple[Example, ...]], ...]
    """Of each image and model: its label, and the image under each attack."""

    def __post_init__(self) -> None:
        if not self.rows or any(len(examples) != len(self.attacks) for _, examples in self.rows):
            raise ValueError(f"graded examples need rows of {len(self.attacks)} images each")


def intensity_grid(graded: Graded) -> Figure:
    """Figures S6 and S7: clean image, then attacked ones; underneath, the score before → after and the SSIM."""
    rows = graded.rows
    with mpl.rc_context(STYLE):  # type: ignore[arg-type] # its keys are a closed list of literals in the stubs
        columns = 1 + len(graded.attacks)
        figure = Figure(
            figsize=(2 * COLUMN, (2 * COLUMN / columns + 0.35) * len(rows)), layout="constrained", dpi=DOTS_PER_INCH
        )
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for axes, (label, examples) in zip(grid, rows, strict=True):
            _show(axes[0], examples[0].clean, f"{examples[0].clean_score:.1f}")
            axes[0].set_ylabel(label, fontsize=6)
            for place, one in zip(axes[1:], examples, strict=True):
                _show(place, one.attacked, f"{one.clean_score:.1f} → {one.attacked_score:.1f}\nSSIM {one.ssim:.3f}")
        for axes, title in zip(grid[0], ("clean", *graded.attacks), strict=True):
            axes.set_title(title)
    return figure


def _show(axes: Axes, image: NDArray[np.floating], caption: str) -> None:
    axes.imshow(image, interpolation="nearest", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[], xlabel=caption)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def as_img(figure: Figure, description: str) -> str:
    """The figure as an HTML `img` that carries its own pixels; `description` is plain text for its `alt`."""
    pixels = base64.b64encode(to_png(figure, is_drawing=False)).decode()
    alternative = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'<img alt="{alternative}" src="data:image/png;base64,{pixels}">'
