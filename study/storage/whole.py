"""A whole study at once: deleting its folder, and giving it another name."""

from __future__ import annotations

import shutil
from pathlib import Path

from study.errors import StudyError
from study.storage.directory import StudyDirectory, check_new

MADE = (
    *("study.yaml", "launched.yaml", "environment.json", "split.parquet", "mlflow.json", "members.json"),
    *("optuna.db", "optuna", "lock", "locks", "stop", "logs", "trials", "black_box", "front", "confirm"),
)
"""What a study's folder holds, beside files that begin with a point and the search's own beside `optuna.db`."""


def check_whole(directory: StudyDirectory) -> None:
    """StudyError where the folder is not a study's and nothing else, or somebody runs the study."""
    if directory.mirror is not None:
        raise StudyError(
            f"study {directory.name!r} is in a bucket, where nothing is deleted or renamed from here; use your store's "
            f"own program on {directory.place}"
        )
    if directory.path.is_symlink():
        raise StudyError(f"{directory.path} is a link to {directory.path.resolve()}; name the study where it is")
    others = sorted(file.name for file in directory.path.iterdir() if not _is_made(file.name))
    if others:
        raise StudyError(f"{directory.path / others[0]} is no file of a study's; move it away first")
    if owner := directory.owner():
        raise StudyError(
            f"study {directory.name!r} is being run by process {owner['pid']} on {owner['host']}; end it first with: "
            f"{directory.command('stop')}"
        )


def _is_made(name: str) -> bool:
    return name in MADE or name.startswith((".", "optuna.db-"))


def remove(directory: StudyDirectory) -> None:
    """Delete the study's folder. It is no study from the first file on, whenever this is cut off."""
    (directory.path / "study.yaml").unlink()
    shutil.rmtree(directory.path)


def move(directory: StudyDirectory, name: str) -> StudyDirectory:
    """Give the folder another name. StudyError where that is taken or unusable."""
    studies: Path = directory.path.parent
    check_new(studies, name)
    if (studies / name).exists():
        raise StudyError(f"{studies / name} exists and is no study; choose another name")
    directory.path.rename(studies / name)
    (studies / name / "lock").unlink(missing_ok=True)  # this process's, which looks for it at the old place
    return StudyDirectory(studies / name)
