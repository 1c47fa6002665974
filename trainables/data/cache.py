"""Folders that are built once, whole, and by one process at a time."""

import shutil
from collections.abc import Callable
from pathlib import Path

from trainables.files import alone


def build_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """`folder`, filled by `write(temporary_folder)` unless it is there already.

    The temporary folder becomes `folder` by one rename, so `folder` is either whole or absent: an exception leaves
    nothing, a killed process leaves a `.part` folder that the next builder removes. Of several processes one builds
    and the others wait for it.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.with_name(folder.name + ".lock")):
            if not folder.is_dir():
                _build(folder, write)
    except OSError as error:
        raise ValueError(
            f"cannot write the data cache {folder}: {error}; make room there or set XDG_CACHE_HOME to another place"
        ) from error
    return folder


def _build(folder: Path, write: Callable[[Path], None]) -> None:
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        write(part)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
