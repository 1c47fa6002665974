"""Who holds a study: judged by what another container, another boot or a clock that was set cannot falsify."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.errors import StudyError
from study.storage import lock
from study.storage.directory import StudyDirectory

LONG_AGO = lock.EXPIRY + 30
IN_A_NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
HOLD = """
import sys, time
from pathlib import Path
from study.storage.directory import StudyDirectory
with StudyDirectory(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def directory(tmp_path: Path) -> StudyDirectory:
    (tmp_path / "study").mkdir()
    return StudyDirectory(tmp_path / "study")


def leave(directory: StudyDirectory, age: float = 0.0, **changes: Any) -> None:
    """A lock of this process, but for the changes, last renewed so many seconds ago."""
    content = lock.identity() | changes
    directory.write_json("lock", {key: value for key, value in content.items() if value is not ...})
    renewed = time.time() - age
    os.utime(directory.path / "lock", (renewed, renewed))


ELSEWHERE: list[dict[str, Any]] = [
    {"namespace": "pid:[1]"},
    {"namespace": None},
    {"boot": "another"},
    {"boot": "another", "host": "other"},
]


@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_process_that_cannot_be_seen_counts_as_living_until_it_is_long_silent(
    directory: StudyDirectory, place: dict[str, Any]
) -> None:
    leave(directory, pid=2**22 + 1, **place)
    assert directory.owner() is not None
    with pytest.raises(StudyError, match=r"wait 90 s or delete"), directory.locked():
        raise AssertionError("two drivers")
    leave(directory, LONG_AGO, pid=2**22 + 1, **place)
    assert directory.owner() is None
    with directory.locked():
        pass


def test_a_living_process_of_this_machine_keeps_its_lock_however_long_it_is_silent(directory: StudyDirectory) -> None:
    leave(directory, 10 * LONG_AGO)
    assert directory.owner() is not None


def test_a_clock_that_was_set_makes_no_living_process_a_dead_one(directory: StudyDirectory) -> None:
    leave(directory, started=0.0)
    assert directory.owner() is not None
    leave(directory, born=1)
    assert directory.owner() is None, "the number was given to another process since"


@pytest.mark.parametrize("damage", [{"pid": "1"}, {"pid": None}, {"pid": [1]}, {"born": "x"}])
def test_a_lock_that_names_no_process_is_nobody_s(directory: StudyDirectory, damage: dict[str, Any]) -> None:
    leave(directory, **damage)
    assert directory.owner() is None


def test_a_lock_of_an_earlier_version_is_judged_as_that_did(directory: StudyDirectory) -> None:
    new: dict[str, Any] = {"id": ..., "boot": ..., "namespace": ..., "born": ...}
    leave(directory, LONG_AGO, **new)
    assert directory.owner() is not None
    leave(directory, pid=2**22 + 1, **new)
    assert directory.owner() is None
    leave(directory, LONG_AGO, host="elsewhere", **new)
    assert directory.owner() is not None, "it was never renewed, so its age says nothing"


def test_the_age_is_told_by_the_disk_s_own_clock(directory: StudyDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(directory, namespace="pid:[1]")
    (directory.path / ".locking").touch()
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 3600)
    assert directory.owner() is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a PID namespace")
def test_two_containers_with_one_host_name(directory: StudyDirectory) -> None:
    hold = [*IN_A_NAMESPACE, sys.executable, "-c", HOLD, str(directory.path)]
    first = subprocess.Popen(hold, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    try:
        owner = directory.owner()
        assert owner is not None and owner["pid"] == 1
        with pytest.raises(StudyError, match="process 1 on"), directory.locked():
            raise AssertionError("two drivers")
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert directory.owner() is not None, "from here nobody sees that it died"
    old = time.time() - LONG_AGO
    os.utime(directory.path / "lock", (old, old))
    with directory.locked():
        refused = subprocess.run(hold, check=False, capture_output=True, text=True, timeout=60)
        assert f"process {os.getpid()} on" in refused.stderr, "nor does a container see the driver outside"


def test_a_holder_renews_its_lock(directory: StudyDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.02)
    file = directory.path / "lock"
    with directory.locked():
        os.utime(file, (0, 0))
        _until(lambda: time.time() - file.stat().st_mtime < lock.EXPIRY)
        assert not directory.stop_requested()
    assert not file.exists()


@pytest.mark.parametrize("loss", ["taken", "deleted", "the whole folder"])
def test_a_holder_that_lost_its_lock_stops_and_touches_nothing(
    directory: StudyDirectory, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.02)
    other = lock.identity()
    sentence = "folder of study 'study'.* was deleted" if loss == "the whole folder" else "no longer this driver's"
    with pytest.raises(StudyError, match=sentence), directory.locked():
        if loss == "taken":
            directory.write_json("lock", other)
        elif loss == "deleted":
            (directory.path / "lock").unlink()
        else:
            shutil.rmtree(directory.path)
        _until(directory.stop_requested)
    if loss == "the whole folder":
        assert not directory.path.exists()
    else:
        assert (directory.owner() == other) is (loss == "taken")


@pytest.mark.parametrize("place", [{"born": 1}, {"namespace": "pid:[1]"}])
def test_of_many_that_find_a_lock_that_is_free_one_takes_it(directory: StudyDirectory, place: dict[str, Any]) -> None:
    leave(directory, LONG_AGO, **place)
    together, over = threading.Barrier(8), threading.Barrier(8)
    won: list[int] = []

    def launch() -> None:
        together.wait()
        with _refused_quietly(), StudyDirectory(directory.path).locked():
            won.append(json.loads((directory.path / "lock").read_text())["pid"])
            over.wait()
            return
        over.wait()

    threads = [threading.Thread(target=launch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [os.getpid()]


class _refused_quietly:  # noqa: N801  (named as it is read)
    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is StudyError


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
