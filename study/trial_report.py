"""What a trial's MLflow run shows beside its numbers: its record, its log, its figures."""

from __future__ import annotations

import shutil
from pathlib import Path

from study.directory import StudyDirectory
from study.summaries import TrialSummary
from trainables.trial import SCORES

FILES = ("config.json", SCORES, "trial.log", "error.txt")


def write_trial_report(directory: StudyDirectory, trial: TrialSummary, report: Path) -> None:
    """Fill the folder `report` with what there is of an ended trial."""
    folder = directory.trial(trial.trial)
    for name in FILES:
        if (folder / name).exists():
            shutil.copyfile(folder / name, report / name)
