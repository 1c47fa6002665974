"""Retraining a study's front with new seeds: does the gain remain under another random seed?"""

from __future__ import annotations

import json

from rich.console import Console

from analysis.confirmation import Confirmation, confirm_trial, undecided
from analysis.front import Front
from study.errors import StudyError
from study.looking.front_files import CONFIRMED, front_of
from study.repeating.retrain import retrain, retrained_tables
from study.storage.directory import StudyDirectory
from study.tracking.tracker import sync
from trainables.config import BASELINE
from trainables.files import write_atomically


def confirm(directory: StudyDirectory, seeds: int, console: Console) -> bool:
    """Retrain the front's members and the baseline with `seeds` new seeds. Returns whether all of it is finished."""
    front = front_of(directory)
    members = [point.trial for point in front.members if not point.is_baseline]
    if not members:
        raise StudyError(f"the front of study {directory.name!r} holds its λ=0 baseline only: nothing to confirm")
    if not retrain(directory, seeds, members, console, attacked=[BASELINE, *members]):
        return False
    write_summary(directory, front)
    directory.send()
    sync(directory)
    return True


def write_summary(directory: StudyDirectory, front: Front) -> None:
    """Write `front/confirmed.json` from the retrainings' score tables."""
    found = confirmations(directory, front)
    content = {"trials": [one.to_dict() for one in found], "within_noise": undecided(front, found)}
    write_atomically(directory.front / CONFIRMED, json.dumps(content, indent=1, ensure_ascii=False).encode())


def confirmations(directory: StudyDirectory, front: Front) -> list[Confirmation]:
    """What the retrainings that have ended say of the front's members and the baseline."""
    tables = {point.trial: retrained_tables(directory, point.trial) for point in front.points}
    attacks = directory.read_study_file().attacks
    return [confirm_trial(trial, found, front.objectives, worst_of=attacks) for trial, found in tables.items() if found]
