"""Where files of our own lie, and writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from trainables.trust import in_place


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/nt-study`, or `~/.cache/nt-study` where the variable is not set."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nt-study"


PLACE = "NT_STUDY_PLACE"
"""Environment variable with the folder in which a command was given, where it runs in another one."""


def whole_path(path: str | Path) -> Path:
    """`path` as a whole path, below the folder in which the command was given; links in it are kept as they are.

    A `file://` address, as file managers copy it, is the path that it stands for.
    """
    if str(path).startswith("file://"):
        path = url2pathname(urlsplit(str(path)).path)
    return Path(os.path.abspath(Path(os.environ.get(PLACE, ""), Path(path).expanduser())))  # noqa: PTH100 (no links)


def whole_url(url: str) -> str:
    """A data base's URL, of which one of SQLite names its file by a whole path; others stay as they are."""
    driver, is_file, path = url.partition(":///")
    if not is_file or not driver.startswith("sqlite") or not path or path.startswith((":memory:", "file:")):
        return url
    return f"{driver}:///{whole_path(path)}"


def write_atomically(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> None:
    """Replace `path` by `content` (bytes, or a function that writes to a binary file): all of it or none.

    Its folder is made, but none above: where the whole study was deleted, nothing of it comes back.
    Raises OSError as the file system does (no space, no permission), with a file's name, and leaves the old file as it
    was.
    """
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)  # less what umask takes
    try:
        with os.fdopen(handle, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a write that fails does not know of what
        raise


@contextlib.contextmanager
def alone(path: Path, *, wait: bool = True) -> Iterator[None]:
    """One thread or process at a time is between entering and leaving; `path` is a file made for nothing else.

    Raises BlockingIOError where another one is there and this one does not want to `wait`.
    """
    # The kernel's lock goes with the process that holds it: who is killed never blocks the next one.
    # Not through a link, and without emptying it: what lies there may be somebody's.
    with open(path, "a", opener=in_place) as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
