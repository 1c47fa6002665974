"""What the tests of the durable searcher share: a study, a searcher as a driver makes one, trials that have ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from written_study import write_trial

from search_spaces.schema import StudyFile, load_study_file
from study.known import remember
from study.search.durable import DurableSearch, open_optuna
from study.storage.directory import StudyDirectory, create
from trainables.config import BASELINE

DRIVER = "postgresql+psycopg:"


def study_in(studies: Path, name: str = "search", **overrides: Any) -> tuple[StudyDirectory, StudyFile]:
    study_file = load_study_file("hyperiqa", preset="smoke", overrides={"sampler": "random", **overrides})
    if study_file.storage is not None:
        remember(study_file.storage)  # as the launch does
    return create(studies, name, study_file), study_file


def search_of(directory: StudyDirectory) -> DurableSearch:
    """A searcher as a driver makes one that starts or resumes the study."""
    study_file = directory.read_study_file()
    return DurableSearch(directory, study_file, open_optuna(directory, study_file))


def suggest(search: DurableSearch, ray_trial: str) -> dict[str, Any]:
    suggestion = search.suggest(ray_trial)
    assert isinstance(suggestion, dict)
    return suggestion


def measured(directory: StudyDirectory, name: str, number: int = 0) -> None:
    """What a trial leaves that came to its end, before anybody has heard of it."""
    write_trial(directory, directory.read_study_file(), name, number)
    (directory.trial(name) / "result.json").unlink()


def finish_baseline(search: DurableSearch) -> None:
    assert suggest(search, "ray-baseline") == {"trial": BASELINE, "point": {}}
    measured(search.directory, BASELINE)
    search.on_trial_complete("ray-baseline", {})


def told(directory: StudyDirectory) -> list[FrozenTrial]:
    return open_optuna(directory, directory.read_study_file()).get_trials(deepcopy=False)
