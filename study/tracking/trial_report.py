"""What a trial's MLflow run shows beside its numbers: its record, its log, its figures.

Training curves are not among the figures: MLflow draws them itself from the metrics of each epoch.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from study.storage.directory import StudyDirectory
from study.storage.summaries import TrialSummary
from trainables.config import BASELINE
from trainables.record import SCORES, read_scores
from trainables.trust import read_regular

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

FILES = ("config.json", SCORES, "trial.log", "error.txt")
DOTS_PER_INCH = 150
"""Half of print quality: a study draws its figures while its trials want the processor."""


def copy_files(folder: Path, report: Path) -> None:
    """Fill the folder `report` with the files of an ended trial that tell how it went.

    A link that leads out of the trial's folder is no file of the trial, and what it leads to is not sent anywhere.
    """
    for name in FILES:
        with contextlib.suppress(OSError):
            (report / name).write_bytes(read_regular(folder / name, inside=folder))


def draw_figures(directory: StudyDirectory, trial: TrialSummary, report: Path) -> None:
    """Fill the folder `report` with the figures of an ended trial. One that cannot be drawn is left out."""
    figures: dict[str, Callable[[StudyDirectory, TrialSummary], Figure]] = {}
    if trial.state == "complete":
        figures["scores.png"] = scores_figure
    if trial.state == "complete" and directory.weights(trial.trial).exists():
        figures["examples.png"] = examples_figure
    for name, draw in figures.items():
        try:
            content = png(draw(directory, trial))
        except Exception as error:  # images that are not here, a table that cannot be drawn: the record matters more
            log.info("trial %s has no %s: %s", trial.trial, name, error, exc_info=error)
        else:
            (report / name).write_bytes(content)


def scores_figure(directory: StudyDirectory, trial: TrialSummary) -> Figure:
    """Test scores before and after the probe's attack (the paper's Figure 1) and gradient norms (Figure 4).

    The λ=0 baseline is drawn beside the trial once it is complete.
    """
    from analysis.figures.printed import to_matplotlib
    from analysis.figures.scores import before_after_panel, gradient_norm_panel

    names = {BASELINE: "λ = 0", trial.trial: "λ = 0" if trial.is_baseline else trial.trial}
    paths = {label: directory.trial(name) / SCORES for name, label in names.items()}
    tables = {label: read_scores(path) for label, path in paths.items() if path.exists()}
    return to_matplotlib([before_after_panel(tables, "test"), gradient_norm_panel(tables, "test")], columns=2)


def examples_figure(directory: StudyDirectory, trial: TrialSummary) -> Figure:
    """A few test images, clean, attacked, and the difference amplified, with their scores. The same for all trials."""
    from analysis.figures.images import example_grid
    from study.looking.examples import examples_of  # here: it needs torch, and what only records a study does not

    return example_grid(examples_of(directory, trial.trial))


def png(figure: Figure) -> bytes:
    """The figure at the screen's resolution, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
