"""A study's records without its weights: all that a report reads, small enough to be kept under version control."""

from __future__ import annotations

from pathlib import Path

from study.storage.directory import StudyDirectory
from trainables.files import write_atomically

TRIAL = ("config.json", "epochs.jsonl", "result.json", "scores.parquet")
KEPT = (
    "study.yaml",
    "launched.yaml",
    "environment.json",
    "front/confirmed.json",
    *(f"trials/*/{name}" for name in TRIAL),
    "confirm/*/study.yaml",
    "confirm/*/members.json",
    *(f"confirm/*/trials/*/{name}" for name in TRIAL),
)


def keep_records(directory: StudyDirectory, folder: Path) -> StudyDirectory:
    """Copy a study's records into `folder`, as a study of the same name; returns that."""
    kept = StudyDirectory(folder / directory.name)
    for pattern in KEPT:
        for path in sorted(directory.path.glob(pattern)):
            write_atomically(kept.path / path.relative_to(directory.path), path.read_bytes())
    return kept
