"""What a trial's MLflow run shows beside its numbers: its record, its log, its figures.

Training curves are not among the figures: MLflow draws them itself from the metrics of each epoch.
"""

from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import safetensors.torch
import torch

from study.directory import StudyDirectory
from study.summaries import TrialSummary
from trainables.attacks import create_attack
from trainables.config import BASELINE, trial_config_from_dict
from trainables.data import open_dataset
from trainables.models import create_model
from trainables.objectives import DEFAULT_ATTACK
from trainables.record import SCORES, WEIGHTS, read_scores
from trainables.ssim import ssim
from trainables.views import image_views

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.figures.images import Example
    from trainables.data.store import ImageStore

log = logging.getLogger(__name__)

FILES = ("config.json", SCORES, "trial.log", "error.txt")
EXAMPLES = 3
DOTS_PER_INCH = 150
"""Half of print quality: a study draws its figures while its trials want the processor."""


def copy_files(folder: Path, report: Path) -> None:
    """Fill the folder `report` with the files of an ended trial that tell how it went."""
    for name in FILES:
        if (folder / name).exists():
            shutil.copyfile(folder / name, report / name)


def draw_figures(directory: StudyDirectory, trial: TrialSummary, report: Path) -> None:
    """Fill the folder `report` with the figures of an ended trial. One that cannot be drawn is left out."""
    folder = directory.trial(trial.trial)
    figures: dict[str, Callable[[StudyDirectory, TrialSummary], Figure]] = {}
    if trial.state == "complete":
        figures["scores.png"] = scores_figure
    if trial.state == "complete" and (folder / WEIGHTS).exists():
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

    return example_grid(examples_of(directory, trial.trial))


def examples_of(directory: StudyDirectory, trial: str) -> list[Example]:
    """The probe's attack on the first views of `EXAMPLES` test images, from bad to good ones.

    ValueError where the study's images are not to be had.
    """
    from analysis.figures.images import Example

    config = trial_config_from_dict(directory.read_json(f"trials/{trial}/config.json"))
    model = create_model(config.model, size=config.size)
    model.load_state_dict(safetensors.torch.load_file(directory.trial(trial) / WEIGHTS))
    model.eval()
    rows = example_rows(directory.read_split())
    store = _store_of(directory.read_study_file().data)
    views = [
        image_views(store[index], model.input_spec, seed=config.seed, image=image)[:1]
        for index, image in zip(rows["index"], rows["image"], strict=True)
    ]
    clean = torch.cat(views).float() / 255
    attacked = create_attack(**config.attacks[DEFAULT_ATTACK])(model, clean).detach()
    with torch.no_grad():
        before, after = model(clean), model(attacked)
    similarity = ssim(clean, attacked)
    return [
        Example(
            name=str(image),
            clean=_picture(clean[row]),
            attacked=_picture(attacked[row]),
            clean_score=float(before[row]),
            attacked_score=float(after[row]),
            ssim=float(similarity[row]),
        )
        for row, image in enumerate(rows["image"])
    ]


def example_rows(split: pd.DataFrame) -> pd.DataFrame:
    """Test images at evenly spaced ranks of MOS, neither the very worst nor the very best."""
    test = split[split["split"] == "test"].sort_values(["mos", "image"])
    ranks = (np.arange(1, EXAMPLES + 1) / (EXAMPLES + 1) * len(test)).astype(int)
    return test.iloc[sorted(set(ranks.tolist()))]


@lru_cache(maxsize=1)
def _store_of(data: str) -> ImageStore:
    return open_dataset(data, skip_unreadable=True).store


def _picture(image: torch.Tensor) -> np.ndarray:
    """(3, H, W) -> (H, W, 3)"""
    return image.permute(1, 2, 0).numpy()


def png(figure: Figure) -> bytes:
    """The figure at the screen's resolution, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
