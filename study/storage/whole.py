"""A whole study at once: deleting its folder, and giving it another name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from study.errors import StudyError
from study.storage.directory import REFIT, StudyDirectory, check_new

TRIAL = (
    *("config.json", "epochs.jsonl", "result.json", "scores.parquet"),
    *("starts.jsonl", "trial.log", "error.txt", "checkpoint.pt", "start.safetensors", "model.safetensors"),
)
BEGUN = ("study.yaml", "launched.yaml", "environment.json", "split.parquet", "members.json", "lock", "logs/driver.log*")
"""What is there before a trial begins."""
_STUDY = (
    *BEGUN,
    *("stop", "mlflow.json", "mlflow.behind", "optuna.db", "optuna.db-*", "optuna/**/*", "locks/*"),
    *(f"trials/*/{name}" for name in TRIAL),
    *("black_box/**/*", "front/front.json", "front/pareto.html", "front/pareto.png", "front/confirmed.json"),
)
MADE = (*_STUDY, *(f"{inner}/{pattern}" for inner in ("confirm/seed-*", REFIT) for pattern in _STUDY))
"""Every file that a study's folder can hold (see `directory.py`), as patterns."""
LEFTOVER = re.compile(r"\.locking|\..+\.[0-9a-f]{8}")
"""A file that locks are taken on, and what a kill leaves of one that was being written."""


def others_file(path: Path, patterns: tuple[str, ...]) -> Path | None:
    """The first file or link below a folder that is neither one of `patterns` nor a leftover of ours, or None."""
    ours = {found for pattern in patterns for found in path.glob(pattern)}
    for file in sorted(path.rglob("*")):
        is_folder = file.is_dir() and not file.is_symlink()
        if not is_folder and (file.is_symlink() or file not in ours) and not LEFTOVER.fullmatch(file.name):
            return file
    return None


def check_whole(directory: StudyDirectory) -> None:
    """StudyError where the folder is not a study's and nothing else, or somebody runs the study."""
    if directory.mirror is not None:
        raise StudyError(
            f"study {directory.name!r} is in a bucket, where nothing is deleted or renamed from here; use your store's "
            f"own program on {directory.place}"
        )
    if directory.path.is_symlink():
        raise StudyError(f"{directory.path} is a link to {directory.path.resolve()}; name the study where it is")
    if other := others_file(directory.path, MADE):
        raise StudyError(f"{other} is no file of a study's; move it away first")
    if owner := directory.owner():
        raise StudyError(
            f"study {directory.name!r} is being run by process {owner['pid']} on {owner['host']}; end it first with: "
            f"{directory.command('stop')}"
        )


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
