"""A study's records without its weights: all that a report reads, small enough to be kept under version control."""

from __future__ import annotations

import shutil
from pathlib import Path

from study.errors import StudyError
from study.storage.directory import StudyDirectory
from study.storage.reading import read_object_if_any
from trainables.files import write_atomically

ENVIRONMENT = "environment.json"
TRIAL = ("config.json", "epochs.jsonl", "result.json", "scores.parquet")
KEPT = (
    "study.yaml",
    "launched.yaml",
    ENVIRONMENT,
    "front/confirmed.json",
    *(f"trials/*/{name}" for name in TRIAL),
    "confirm/*/study.yaml",
    "confirm/*/members.json",
    *(f"confirm/*/trials/*/{name}" for name in TRIAL),
)


def keep_records(directory: StudyDirectory, folder: Path) -> StudyDirectory:
    """Copy a study's records into `folder`, as a study of the same name in place of any there; returns that.

    The host's name stays behind. StudyError when `folder` holds the study itself.
    """
    kept = StudyDirectory(folder / directory.name)
    if kept.path.resolve() == directory.path.resolve():
        raise StudyError(f"{folder} holds study {directory.name!r} itself; choose another --records")
    growing = StudyDirectory(folder / f".{directory.name}.new")
    shutil.rmtree(growing.path, ignore_errors=True)
    for pattern in KEPT:
        for path in sorted(directory.path.glob(pattern)):
            write_atomically(growing.path / path.relative_to(directory.path), path.read_bytes())
    environment = read_object_if_any(growing.path / ENVIRONMENT)
    if isinstance(environment.get("hardware"), dict):
        environment["hardware"].pop("host", None)
        growing.write_json(ENVIRONMENT, environment)
    shutil.rmtree(kept.path, ignore_errors=True)
    growing.path.rename(kept.path)
    return kept
