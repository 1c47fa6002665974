"""Ray on this machine for one study: nobody else reaches it, may use it, or reads what it writes.

It listens on the loopback interface alone, wants a token whatever the environment says, and keeps its sockets and logs
in a folder of this process that goes with it.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import psutil

TOKEN = "RAY_AUTH_TOKEN"
TOKEN_FILE = Path(".ray") / "auth_token"
"""Below the home folder: where Ray keeps a token, readable by all where Ray itself made it."""
LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's switch between clusters (1) and the loopback interface (0), named after the systems where 0 is the default."""
ENDING = 20.0
"""Seconds that Ray may take to end; a second or two where nothing is wrong."""
LONGEST_SOCKET = 107
"""Characters that the system takes as a socket's path."""
SOCKET_BELOW = 70
"""Characters of such a path below Ray's folder, at most."""

PREFIX = "nt-study-"
RAY = "ray"
HELD = "held-by-nt-study"
"""File in the folder of a process's Ray, which the process keeps locked: the mark that the folder was made here."""

SETTINGS = {
    "idle_worker_killing_time_threshold_ms": 3_600_000,  # they wait for the baseline to end
    # What Ray remembers of ended tasks and processes, for its dashboard, which is not started.
    "task_events_report_interval_ms": 0,
    "maximum_gcs_destroyed_actor_cached_count": 100,
}
"""Of Ray's own, where it serves one study."""


def start(preloaded: Sequence[str], num_cpus: int | None) -> None:
    """Start Ray with so many CPUs (None: all), and have it end with this process. Raises what `ray.init` raises."""
    import ray

    os.environ.pop("RAY_AUTH_MODE", None)  # Ray then wants a token of a cluster that it starts itself
    os.environ.setdefault(TOKEN, secrets.token_hex(32))  # its processes inherit it, and no file holds it
    protect_token_file()
    with _loopback_only():
        ray.init(
            address="local",
            num_cpus=num_cpus,
            logging_level=logging.ERROR,
            log_to_driver=False,
            include_dashboard=False,
            object_store_memory=100_000_000,  # trials pass file names, not tensors
            _temp_dir=str(_private_folder()),
            _system_config={"preload_python_modules": list(preloaded), **SETTINGS},
        )


def protect_token_file() -> None:
    """Take from others the right to read the token with which this user's clusters are driven."""
    with contextlib.suppress(OSError, RuntimeError):  # there is none, or it is another user's to protect
        file = Path.home() / TOKEN_FILE
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)


@contextlib.contextmanager
def _loopback_only() -> Iterator[None]:
    from ray._private import ray_constants

    before = os.environ.get(LOOPBACK_ONLY)
    os.environ[LOOPBACK_ONLY] = "0"  # for the processes that Ray starts
    constant, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False  # for this one: it is imported
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = constant
        if before is None:
            del os.environ[LOOPBACK_ONLY]
        else:
            os.environ[LOOPBACK_ONLY] = before


def _private_folder() -> Path:
    """A place for Ray's folder, which Ray opens to everybody, within one that others cannot enter."""
    is_short = len(tempfile.gettempdir()) + len("/nt-study-12345678/ray") + SOCKET_BELOW <= LONGEST_SOCKET
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=None if is_short else "/tmp"))
    held = (folder / "taken").open("w")
    fcntl.flock(held, fcntl.LOCK_EX)
    Path(held.name).rename(folder / HELD)  # nobody finds it unlocked while this process lives
    atexit.register(_end, folder, held)  # before Ray's own end, which was registered when it was imported
    _remove_abandoned(folder.parent)
    return folder / RAY


def _remove_abandoned(place: Path) -> None:
    """Remove the folders of this user's processes that were killed. The kernel lets go of a killed process's lock."""
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or another process removes it too
            held = os.open(folder / HELD, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_ours = folder.lstat().st_uid == os.getuid() and {path.name for path in folder.iterdir()} <= {
                    HELD,
                    RAY,
                }
                if is_ours:  # and nobody has put anything of his own into it
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)


def end_anyway(code: int, seconds: float = ENDING) -> None:
    """Let Ray's end take so many seconds: without its GCS it waits for a minute, then ends with a code of its own.

    The seconds count from the end of the process, not from now: who calls this may go on.
    """
    import ray

    if ray.is_initialized():
        ending = threading.Event()  # no thread can be begun once a process ends
        threading.Thread(target=_leave, args=(code, ending, seconds), daemon=True).start()
        atexit.register(ending.set)  # before Ray's folder is removed: what was registered last comes first


def _leave(code: int, ending: threading.Event, seconds: float) -> None:
    ending.wait()
    time.sleep(seconds)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    sys.stdout.flush()
    os._exit(code)


def _end(folder: Path, held: IO[str]) -> None:
    import ray

    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
    held.close()
