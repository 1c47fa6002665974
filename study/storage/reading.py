"""Reading small files of a study's folder, which a full disk, a sync tool or a hand may have left torn or empty."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from study.errors import StudyError
from trainables.trust import read_regular

EPOCH_COLUMNS = ("epoch", "train_seconds")
"""What a row of `epochs.jsonl` cannot be used without."""


class UnreadableFileError(StudyError):
    """A file that is there and does not hold what it should: says which, and why."""


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. FileNotFoundError where there is none, UnreadableFileError where it is anything else."""
    content = _parsed(_text(path), path)
    if not isinstance(content, dict):
        raise UnreadableFileError(f"{path} holds {type(content).__name__} where a JSON object belongs")
    return content


def read_object_if_any(path: Path, problems: list[str] | None = None) -> dict[str, Any]:
    """As `read_object`, and empty where nothing can be read; `problems` hears of a file that is there nevertheless."""
    try:
        return read_object(path)
    except FileNotFoundError:
        return {}
    except UnreadableFileError as error:
        if problems is not None:
            problems.append(str(error))
        return {}


def read_rows(path: Path, problems: list[str] | None = None) -> list[dict[str, Any]]:
    """The rows of an `epochs.jsonl` up to the first that is torn, of which `problems` hears; none without a file."""
    try:
        lines = _text(path).splitlines()
    except FileNotFoundError:
        return []
    except UnreadableFileError as error:
        return _noted(str(error), problems)
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or not all(_is_number(row.get(name)) for name in EPOCH_COLUMNS):
            _noted(f"{path} is damaged in line {number}; the {number - 1} epochs before it are shown", problems)
            break
        rows.append(row)
    return rows


def _noted(problem: str, problems: list[str] | None) -> list[Any]:
    if problems is not None:
        problems.append(problem)
    return []


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(path: Path) -> str:
    try:
        return read_regular(path, inside=path.parent).decode()  # what is read may be sent to MLflow
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFileError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _parsed(text: str, path: Path) -> Any:
    if not text.strip():
        raise UnreadableFileError(f"{path} is empty")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableFileError(f"{path} is no JSON: {error}") from None
