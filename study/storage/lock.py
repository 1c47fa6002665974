"""The right to run a study of a folder: one driver holds it, and one that is gone is told from one that lives.

The file `lock` says who; its holder renews the file's time every `BEAT` seconds. A process is known to have ended only
where its number means the same: on the same boot of the same kernel, in the same PID namespace. Elsewhere, as between
two containers with one host name or two machines with one disk, only a lock that has not been renewed for long is free.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from study.errors import StudyError
from study.storage.reading import UnreadableFileError, read_object
from study.suggest import command
from trainables.files import alone, write_atomically

log = logging.getLogger(__name__)

BEAT = 10.0
"""Seconds between two renewals."""
EXPIRY = 90.0
"""Seconds without renewal after which a holder that cannot be looked at counts as gone."""
PROC = Path("/proc")


class StudyLock:
    """The lock of the study in a folder. `lost` is set once a holder finds that it holds the study no longer."""

    def __init__(self, study: Path) -> None:
        self.study = study
        self.path = study / "lock"
        self.lost = threading.Event()

    def owner(self) -> dict[str, Any] | None:
        """Who holds the study, or None."""
        try:
            lock = read_object(self.path)
            if not {"host", "pid", "started"} <= lock.keys() or is_gone(lock) or self._is_expired(lock):
                return None
        except (FileNotFoundError, UnreadableFileError):
            return None
        return lock

    @contextlib.contextmanager
    def held(self) -> Iterator[dict[str, Any]]:
        """Hold the study for this process and yield what the lock says; StudyError when another one holds it."""
        content = identity()
        self._take(content)
        ended = threading.Event()
        beats = threading.Thread(target=self._renew, args=(content, ended), name="lock", daemon=True)
        beats.start()
        try:
            yield content
        finally:
            ended.set()
            beats.join()
            self._give_back(content)
        if self.lost.is_set():
            raise StudyError(self._loss())

    def _take(self, content: dict[str, Any]) -> None:
        with alone(self._guard):  # else of two that find a dead driver's lock, one deletes the other's
            owner = self.owner()
            if owner is None:
                (self.study / "stop").unlink(missing_ok=True)
                write_atomically(self.path, json.dumps(content, indent=1).encode())
                self.lost.clear()
        if owner is not None:
            wait = f"wait {EXPIRY:g} s or " if "id" in owner else ""
            raise StudyError(
                f"study {self.study.name!r} is being run by process {owner['pid']} on {owner['host']}; wait for it, "
                f"watch it with `{self._command('status')}`, or end it with `{self._command('stop')}`; if that machine "
                f"is gone, {wait}delete {self.path}"
            )

    def _renew(self, content: dict[str, Any], ended: threading.Event) -> None:
        while not ended.wait(BEAT):
            try:
                if read_object(self.path) == content:
                    os.utime(self.path)
                    continue
            except FileNotFoundError:
                pass
            except (OSError, UnreadableFileError) as error:  # of the disk: at the next beat it may work again
                log.info("%s", error)
                continue
            self.lost.set()
            return

    def _loss(self) -> str:
        if not self.study.exists():
            return f"the folder of study {self.study.name!r}, {self.study}, was deleted; nothing more is written"
        return (
            f"study {self.study.name!r} is no longer this driver's: its lock was deleted, or another driver took it "
            f"because this one had not been heard of for {EXPIRY:g} s; see who runs it with: {self._command('status')}"
        )

    def _give_back(self, content: dict[str, Any]) -> None:
        """Remove the lock, unless it is another's, who came after this one had been taken for gone."""
        with contextlib.suppress(FileNotFoundError), alone(self._guard):
            if self.owner() == content:
                (self.study / "stop").unlink(missing_ok=True)
                self.path.unlink(missing_ok=True)

    def _is_expired(self, lock: dict[str, Any]) -> bool:
        """Whether a lock that its holder renews has not been renewed for long, by the clock of the disk it lies on."""
        if "id" not in lock or can_be_seen(lock):
            return False
        now = time.time()
        with contextlib.suppress(OSError):  # nobody may write here
            os.utime(self._guard)
            now = self._guard.stat().st_mtime
        return now - self.path.stat().st_mtime > EXPIRY

    @property
    def _guard(self) -> Path:
        return self.study / ".locking"

    def _command(self, verb: str) -> str:
        return command(verb, self.study.name, studies=self.study.parent)


def identity() -> dict[str, Any]:
    """What a lock says of this process."""
    process = psutil.Process()
    return {
        "id": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "pid": process.pid,
        "started": process.create_time(),
        "born": _born(process.pid),
        **_place(),
    }


def is_gone(lock: dict[str, Any]) -> bool:
    """Whether the holder has ended, or its number now belongs to another process; False where that cannot be seen."""
    if not can_be_seen(lock):
        return False
    if lock.get("born") is not None:
        return _born(lock.get("pid")) != lock["born"]
    try:
        return abs(psutil.Process(lock["pid"]).create_time() - lock["started"]) > 1
    except (psutil.NoSuchProcess, KeyError, TypeError, ValueError):
        return True


def can_be_seen(lock: dict[str, Any]) -> bool:
    """Whether the holder's number names a process that this one would see if it lived."""
    here = _place()
    if "boot" not in lock or not here:  # an earlier version's, or no system with namespaces
        return bool(lock.get("host") == socket.gethostname())
    return None not in here.values() and all(lock.get(key) == value for key, value in here.items())


def _place() -> dict[str, str | None]:
    """Where process numbers mean what they mean here; None for what is not known, nothing where there is no /proc."""
    if not PROC.exists():
        return {}
    try:
        # A /proc of another namespace, as without `unshare --mount-proc`, has others under our numbers.
        is_ours = (PROC / "self").readlink().name == str(os.getpid())
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return {"boot": boot, "namespace": str((PROC / "self/ns/pid").readlink()) if is_ours else None}
    except OSError:
        return {"boot": None, "namespace": None}


def _born(pid: object) -> int | None:
    """Clock ticks between the boot and the process's start, which no setting of the clock changes."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if fields[0] == "Z" else int(fields[19])
    except (OSError, IndexError):
        return None
