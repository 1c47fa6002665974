"""Retraining a study's front with new seeds, each seed as a small study of its own below the study's folder.

<study>/confirm/seed-1/ is a study of fixed points: the λ=0 baseline and the front's members, on the same split, with
another seed. So a confirmation is scheduled, recorded and resumed like any study.
"""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from analysis.confirm import Confirmation, confirm_trial, undecided
from analysis.front import Front
from search_spaces.schema import Scheduler, StudyFile
from study.directory import StudyDirectory, create
from study.errors import StudyError
from study.front import CONFIRMED, front_of
from study.frozen import software
from study.run import run
from trainables.config import BASELINE
from trainables.files import write_atomically
from trainables.record import SCORES, read_scores
from trainables.seeding import derive_seed

MEMBERS = "members.json"
"""In a seed's folder: the study's trials that its trials t000, t001, … repeat."""


def confirm(directory: StudyDirectory, seeds: int, console: Console) -> bool:
    """Retrain the front's members and the baseline with `seeds` new seeds. Returns whether all of it is finished."""
    front = front_of(directory)
    members = [point.trial for point in front.members if not point.is_baseline]
    if not members:
        raise StudyError(f"the front of study {directory.name!r} holds no NT trial that could be confirmed")
    for number in range(1, seeds + 1):
        console.print(f"\n[bold]seed {number} of {seeds}[/]")
        if not run(_seed_study(directory, number, members), console, tracked=False, force=True):
            return False
    write_summary(directory, front)
    return True


def write_summary(directory: StudyDirectory, front: Front) -> None:
    """Write `front/confirmed.json` from the retrainings' score tables."""
    found = confirmations(directory, front)
    content = {"trials": [one.to_dict() for one in found], "within_noise": undecided(front, found)}
    write_atomically(directory.front / CONFIRMED, json.dumps(content, indent=1, ensure_ascii=False).encode())


def confirmations(directory: StudyDirectory, front: Front) -> list[Confirmation]:
    """What the retrainings that have ended say of the front's members and the baseline."""
    found = []
    for point in front.points:
        folders = _retrainings(directory, point.trial)
        if folders:
            tables = [read_scores(folder / SCORES) for folder in folders]
            found.append(confirm_trial(point.trial, tables, front.objectives))
    return found


def _seed_study(directory: StudyDirectory, number: int, members: list[str]) -> StudyDirectory:
    """The folder of a seed, made or extended so that it holds all the members."""
    replica = StudyDirectory(directory.path / "confirm" / f"seed-{number}")
    known = list(replica.read_json(MEMBERS)["trials"]) if (replica.path / MEMBERS).exists() else []
    names = [*known, *(name for name in members if name not in known)]
    study_file = _fixed_points(directory, number, names)
    if not known:
        create(replica.path.parent, replica.name, study_file)
        replica.write_split(directory.read_split())
        replica.write_json("environment.json", {**directory.read_json("environment.json"), **software()})
    replica.write_study_file(study_file)
    replica.write_json(MEMBERS, {"trials": names})
    return replica


def _fixed_points(directory: StudyDirectory, number: int, names: list[str]) -> StudyFile:
    study_file = directory.read_study_file()
    points = []
    for name in names:
        config = directory.read_json(f"trials/{name}/config.json")
        last = config["recipe"]["stages"][-1]
        points.append({key: float(config.get(key, last.get(key))) for key in study_file.space})
    return study_file.model_copy(
        update={
            "seed": derive_seed(study_file.seed, "confirm", number),
            "trials": len(points),
            "first_points": tuple(points),
            "scheduler": Scheduler(),
            "storage": None,
            "full_suite": "all" if study_file.suite else "none",
        }
    )


def _retrainings(directory: StudyDirectory, trial: str) -> list[Path]:
    found = []
    for seed in sorted((directory.path / "confirm").glob("seed-*")):
        names = StudyDirectory(seed).read_json(MEMBERS)["trials"]
        if trial != BASELINE and trial not in names:
            continue
        folder = StudyDirectory(seed).trial(BASELINE if trial == BASELINE else f"t{names.index(trial):03d}")
        if (folder / SCORES).exists():
            found.append(folder)
    return found
