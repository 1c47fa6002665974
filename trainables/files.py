"""Where files of our own lie, and writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/nt-study`, or `~/.cache/nt-study` where the variable is not set."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nt-study"


def write_atomically(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> None:
    """Replace `path` by `content` (bytes, or a function that writes to a binary file): all of it or none.

    Raises OSError as the file system does (no space, no permission) and leaves the old file as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def alone(path: Path, *, wait: bool = True) -> Iterator[None]:
    """One thread or process at a time is between entering and leaving; `path` is a file made for nothing else.

    Raises BlockingIOError where another one is there and this one does not want to `wait`.
    """
    # The kernel's lock goes with the process that holds it: who is killed never blocks the next one.
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
