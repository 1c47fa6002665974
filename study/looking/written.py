"""What commands write for people at places that people name: over files of our own, and over nobody else's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from study.errors import StudyError
from trainables.files import write_atomically
from trainables.trust import open_regular

BEGINNING = 1000
"""Bytes of a file by which it is known."""


def write_pages(out: Path, files: Mapping[str, bytes], title: bytes) -> None:
    """Write files into a folder, the first of them a page with this `<title>` that marks the others as ours.

    StudyError where the folder holds files of these names and no such page, or cannot be written.
    """
    page = out / next(iter(files))
    if not is_like(page, lambda text: b"<title>" + title in text):
        for name in files:
            refuse_others(out / name, lambda _: False)
    try:
        for name, content in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(out / name, content)
    except OSError as error:
        raise StudyError(f"cannot write {out}: {error.strerror}; choose another --out") from None


def prepare_file(out: Path, usual: str, is_ours: Callable[[bytes], bool]) -> None:
    """Make the folder of a file that takes long to compute. usual: what such a file is called, for who named a folder.

    StudyError where it cannot be made, and where another's file would be lost.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"cannot write {out}: {error.strerror}; choose another --out") from None
    if out.is_dir():
        raise StudyError(f"cannot write {out}: it is a folder; name a file in it, as --out {out / usual}")
    refuse_others(out, is_ours)


def refuse_others(out: Path, is_ours: Callable[[bytes], bool]) -> None:
    """StudyError where a file is there, has something in it, and does not begin as what its command writes."""
    if out.is_file() and out.stat().st_size and not is_like(out, is_ours):
        raise StudyError(
            f"{out} was not written by this command, so it is not replaced; choose another --out or move it away"
        )


def is_like(file: Path, is_ours: Callable[[bytes], bool]) -> bool:
    """Whether a file is there whose first bytes are ours."""
    try:
        with open_regular(file) as opened:
            return is_ours(opened.read(BEGINNING))
    except OSError:
        return False
