"""Trials of a study trained again with new seeds, each seed as a small study of its own below the study's folder.

<study>/confirm/seed-1/ is a study of fixed points: the λ=0 baseline and the trials asked for, on the same split, with
another seed. So retraining is scheduled, recorded and resumed like any study.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from search_spaces.schema import Scheduler, StudyFile
from study.errors import StudyError
from study.mixing.filling import record_here
from study.repeating.suite_tasks import not_yet_attacked
from study.running.run import attack, run
from study.search.durable import trial_name
from study.storage.directory import StudyDirectory, create
from study.storage.frozen import software
from study.storage.reading import UnreadableFileError
from study.storage.whole import BEGUN, others_file
from trainables.config import BASELINE, Mixture
from trainables.record import SCORES, read_scores
from trainables.seeding import derive_seed

MEMBERS = "members.json"
"""In a seed's folder: the study's trials that its trials t000, t001, … repeat."""


def retrain(
    directory: StudyDirectory, seeds: int, members: list[str], console: Console, *, attacked: Sequence[str] = ()
) -> bool:
    """Train the trials `members` and the baseline with `seeds` new seeds; run the full suite on those of `attacked`.

    Of a mixture its parents are trained again, and mixed as they were: so a path is tried with other seeds.
    Returns whether all of it is finished. A retraining that failed is said to have, and left out of what is compared.
    """
    mixtures = [mixture for mixture in map(Mixture.named, members) if mixture is not None]
    members = _trained(members)
    for number in range(1, seeds + 1):
        console.print(f"\n[bold]new seed {number} of {seeds}[/]")
        replica = seed_study(directory, number, members)
        remedy = f"remove {replica.place} and give the same command again"
        names = {trial_name(place): member for place, member in enumerate(_members(replica))}
        if not run(replica, console, tracked=False, force=True, remedy=remedy, names=names):
            return False
        failed = [trial for trial in members if not (_folder_in(replica, trial) / SCORES).exists()]
        for trial in failed:
            console.print(f"with this seed {trial} failed; why: {_folder_in(replica, trial) / 'error.txt'}")
        mixed = [mixture for mixture in mixtures if not set(mixture.parents) & set(failed)]
        _mix_again(replica, [_name_in(replica, mixture.name) for mixture in mixed])
        lost = {*failed, *(mixture.name for mixture in mixtures if mixture not in mixed)}
        wanted = [_name_in(replica, trial) for trial in attacked if trial not in lost]
        if not attack(replica, not_yet_attacked(replica, wanted), console, names):
            return False
    return True


def _trained(trials: Sequence[str]) -> list[str]:
    """What has to be trained for these trials and mixtures, beside the baseline; each once, in order."""
    mixtures = {trial: Mixture.named(trial) for trial in trials}
    needed = [name for trial, mixture in mixtures.items() for name in (mixture.parents if mixture else (trial,))]
    return [name for name in dict.fromkeys(needed) if name != BASELINE]


def _mix_again(replica: StudyDirectory, names: Sequence[str]) -> None:
    """Make a seed's mixtures, as far as they are missing."""
    missing = [name for name in names if not (replica.trial(name) / SCORES).exists()]
    if missing:
        record_here(replica, [mixture for mixture in map(Mixture.named, missing) if mixture is not None])


def retrained_tables(directory: StudyDirectory, trial: str, problems: list[str] | None = None) -> list[pd.DataFrame]:
    """The score tables of a trial's retrainings by seed, up to the first that has not ended: so seeds can be paired.

    Nor does one count that cannot be read, of which `problems` hears; without that list it is a ValueError.
    """
    tables: list[pd.DataFrame] = []
    try:
        for folder in _retrainings(directory, trial):
            tables.append(read_scores(folder / SCORES))
    except (ValueError, StudyError) as error:
        if problems is None:
            raise
        problems.append(str(error))
    return tables


def _check_unused(replica: StudyDirectory) -> None:
    """StudyError where a seed's folder holds what its making does not put there: trials, or files of the user's."""
    if other := others_file(replica.path, BEGUN):
        raise StudyError(
            f"{replica.path} lacks study.yaml or {MEMBERS} and holds {other.relative_to(replica.path)}, so it is not "
            "replaced; move it away, or bring the missing file back, and give the same command again"
        )


def seed_study(directory: StudyDirectory, number: int, members: list[str]) -> StudyDirectory:
    """The folder of a seed, made or extended so that it holds all the members."""
    replica = StudyDirectory(directory.path / "confirm" / f"seed-{number}")
    is_made = all((replica.path / name).exists() for name in ("study.yaml", MEMBERS))
    known = list(replica.read_json(MEMBERS)["trials"]) if is_made else []
    names = [*known, *(name for name in members if name not in known)]
    study_file = _fixed_points(directory, number, names)
    if not is_made:
        _check_unused(replica)
        # A kill has left a part of it, in which no trial can have begun.
        shutil.rmtree(replica.path, ignore_errors=True)
        environment = {**directory.read_json("environment.json"), **software()}
        create(
            replica.path.parent,
            replica.name,
            study_file,
            rows=directory.read_split(),
            files={"environment.json": environment, MEMBERS: {"trials": names}},
        )
    replica.write_study_file(study_file)
    replica.write_json(MEMBERS, {"trials": names})
    replica.send()
    return replica


def _fixed_points(directory: StudyDirectory, number: int, names: list[str]) -> StudyFile:
    study_file = directory.read_study_file()
    points = []
    for name in names:
        config = directory.read_json(f"trials/{name}/config.json")
        recipe = config["recipe"]
        known = {**recipe["stages"][-1], **recipe.get("defence_params", {}), **config}
        points.append({key: float(known[key]) for key in study_file.space})
    return study_file.model_copy(
        update={
            "seed": derive_seed(study_file.seed, "confirm", number),
            "trials": len(points),
            "first_points": tuple(points),
            "scheduler": Scheduler(),
            "storage": None,
            "full_suite": "none",
            "mixtures": 0,
        }
    )


def _retrainings(directory: StudyDirectory, trial: str) -> list[Path]:
    found = []
    for seed in sorted((directory.path / "confirm").glob("seed-*"), key=_number_of):
        replica = StudyDirectory(seed)
        if not set(_trained([trial])) <= set(_members(replica)):
            break
        folder = _folder_in(replica, trial)
        if not (folder / SCORES).exists():
            break
        found.append(folder)
    return found


def _members(replica: StudyDirectory) -> list[str]:
    try:
        found = replica.read_json(MEMBERS).get("trials")
    except FileNotFoundError:
        return []  # a kill came before it was written, and no trial can have begun
    if not isinstance(found, list):
        raise UnreadableFileError(f"{replica.path / MEMBERS} names no trials")
    return found


def _number_of(seed: Path) -> int:
    return int(seed.name.removeprefix("seed-"))


def _folder_in(replica: StudyDirectory, trial: str) -> Path:
    return replica.trial(_name_in(replica, trial))


def _name_in(replica: StudyDirectory, trial: str) -> str:
    """What the study's trial or mixture is called in a seed's folder."""
    if (mixture := Mixture.named(trial)) is not None:
        first, second = (_name_in(replica, parent) for parent in mixture.parents)
        return Mixture.of(first, second, mixture.weight).name
    return BASELINE if trial == BASELINE else trial_name(_members(replica).index(trial))
