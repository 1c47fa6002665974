"""A trained model, wherever it lies: an export, a trial's folder, published weights."""

from __future__ import annotations

from pathlib import Path

from study.errors import StudyError
from study.export.reading import load_exported
from study.repeating.suite_tasks import read_trial_config
from trainables.models.published import load_published
from trainables.models.scorer import Scorer
from trainables.record import SCORES
from trainables.suite import load_trial_model
from trainables.written import number


def open_checkpoint(checkpoint: Path, model: str | None = None, swin_scale: str | None = None) -> Scorer:
    """The model that an export's folder, a trial's folder or a published weight file stands for, in evaluation mode.

    model: which network published weights are of, where their keys do not say. swin_scale: as the command line takes
    it. StudyError where there is nothing; ValueError for what cannot be read as a model.
    """
    if not checkpoint.exists():
        raise StudyError(f"there is no checkpoint {checkpoint}")
    if checkpoint.is_file():
        return load_published(checkpoint, model, swin_scale=None if swin_scale is None else number(swin_scale))
    if (checkpoint / SCORES).exists() and (checkpoint / "epochs.jsonl").exists():
        return load_trial_model(read_trial_config(checkpoint), checkpoint)
    return load_exported(checkpoint)
