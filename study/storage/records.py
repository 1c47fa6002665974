"""A study's records without its weights: all that a report reads, small enough to be kept under version control."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from study.errors import StudyError
from study.storage.directory import StudyDirectory
from study.storage.reading import read_object_if_any
from study.storage.whole import others_file
from trainables.files import write_atomically
from trainables.trust import read_regular

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
    f"confirm/*/{ENVIRONMENT}",
    *(f"confirm/*/trials/*/{name}" for name in TRIAL),
)

LEFT_BY_USE = ("front/front.json", "front/pareto.html", "front/pareto.png")
"""What our commands write into records that they are pointed at as a study; it can be written again."""


def keep_records(directory: StudyDirectory, folder: Path) -> StudyDirectory:
    """Copy a study's records into `folder`, as a study of the same name in place of any records there; returns that.

    The host's name stays behind. StudyError when `folder` holds the study itself, or anything of that name that is not
    records: what this did not write it does not remove.
    """
    kept = StudyDirectory(folder / directory.name)
    if kept.path.resolve() == directory.path.resolve():
        raise StudyError(f"{folder} holds study {directory.name!r} itself; choose another --records")
    _refuse_others_files(kept.path)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{directory.name}.") as scratch:
        growing = StudyDirectory(Path(scratch) / "new")
        _copy(directory, growing)
        if kept.path.exists():
            kept.path.rename(Path(scratch) / "before")
        growing.path.rename(kept.path)
    return kept


def _refuse_others_files(path: Path) -> None:
    """StudyError unless the path is free, or a folder that holds records and nothing else."""
    if not path.exists() and not path.is_symlink():
        return
    is_folder = path.is_dir() and not path.is_symlink()
    other = others_file(path, (*KEPT, *LEFT_BY_USE)) if is_folder else path
    if other:
        what = f"holds {other.relative_to(path)}, which is none" if is_folder else "is none"
        raise StudyError(f"records would take the place of {path}, but it {what}; choose another --records")


def _copy(directory: StudyDirectory, growing: StudyDirectory) -> None:
    growing.path.mkdir()
    for pattern in KEPT:
        for path in sorted(directory.path.glob(pattern)):
            try:
                content = read_regular(path, inside=directory.path)
            except OSError as error:
                raise StudyError(f"the record {path} is not kept: {error.strerror}; remove it and try again") from None
            kept = growing.path / path.relative_to(directory.path)
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, content)
    for path in growing.path.rglob(ENVIRONMENT):
        environment = read_object_if_any(path)
        if isinstance(environment.get("hardware"), dict):
            environment["hardware"].pop("host", None)
            write_atomically(path, json.dumps(environment, indent=1, ensure_ascii=False).encode())
