"""What is done to a study: each injection has the study that it needs, the blow, and the exit codes that may follow."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.torture.rig import Rig, children, local_rig
from study.tracking.server import Server

OUTAGE = (2.0, 25.0)
"""Seconds that a server stays away, a disk stays full or writes fail."""
KILLED = -signal.SIGKILL
INTERRUPTED = 130
SENTENCE = 2
"""The exit code that comes with one sentence."""
RAYS_OWN = 1
"""With which Ray itself ends a process that is just joining when the raylet or the GCS dies; no Python hears of it."""
Driver = subprocess.Popen[str]
Blow = Callable[[Rig, Driver, random.Random], bool]
"""Returns whether there was something to hit."""


@dataclass(frozen=True)
class Injection:
    rig: Callable[[], AbstractContextManager[Rig]]
    blow: Blow
    codes: tuple[int, ...]
    """With which a driver that was hit may end; 0 where it goes on."""


def kill_driver(rig: Rig, driver: Driver, moments: random.Random) -> bool:
    driver.kill()
    return True


def interrupt(rig: Rig, driver: Driver, moments: random.Random) -> bool:
    driver.send_signal(signal.SIGINT)
    return True


def kill_child(*names: str) -> Blow:
    """SIGKILL for a process that the driver has started, by the beginning of its name."""

    def blow(rig: Rig, driver: Driver, moments: random.Random) -> bool:
        found = [process for process in children(driver) if _name(process).startswith(names)]
        if not found:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            moments.choice(found).kill()
        return True

    return blow


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.name()
    return ""


# Servers -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mlflow_rig() -> Iterator[Rig]:
    with local_rig() as rig:
        server = Server(f"sqlite:///{rig.folder / 'server.db'}", rig.folder / "artifacts", free_port())
        with server:
            rig.tracking_uri = server.address
            rig.launch_options = ("--mlflow", server.address)
            rig.server = server
            yield rig


def kill_mlflow(rig: Rig, driver: Driver, moments: random.Random) -> bool:
    assert isinstance(rig.server, Server)
    rig.server.stop(signal.SIGKILL)
    time.sleep(moments.uniform(*OUTAGE))
    rig.server.start()
    return True


@contextlib.contextmanager
def postgres_rig() -> Iterator[Rig]:
    from tests.postgres_server import PASSWORD, Postgres

    with local_rig() as rig, Postgres(free_port()) as server:
        os.environ["PGPASSWORD"] = PASSWORD  # for the comparison in this process, too
        database = server.fresh().rpartition("/")[2]
        rig.launch_options = ("--storage", f"postgresql://postgres@127.0.0.1:{server.port}/{database}")
        rig.server = server
        yield rig


def kill_postgres(rig: Rig, driver: Driver, moments: random.Random) -> bool:
    from tests.postgres_server import Postgres

    assert isinstance(rig.server, Postgres)
    rig.server.kill()
    time.sleep(moments.uniform(*OUTAGE))
    rig.server.start()
    return True


@contextlib.contextmanager
def bucket_rig() -> Iterator[Rig]:
    from pyarrow.fs import FileSystem

    from tests.object_store import ObjectStore

    with local_rig() as rig, ObjectStore(free_port()) as server:
        before = dict(os.environ)
        # For this process too, which compares: its working copy of the bucket is the driver's.
        os.environ.update(server.environment | {"XDG_CACHE_HOME": str(rig.folder / "cache")})
        store, bucket = FileSystem.from_uri("s3://torture?allow_bucket_creation=true")
        store.create_dir(bucket)
        rig.studies = "s3://torture/studies"
        rig.server = server
        yield rig
        os.environ.clear()
        os.environ.update(before)


def stop_object_store(rig: Rig, driver: Driver, moments: random.Random) -> bool:
    """The store for tests keeps its objects in memory, so it is not killed: it stops answering, and comes back."""
    from tests.object_store import ObjectStore

    assert isinstance(rig.server, ObjectStore)
    rig.server.answer(False)
    time.sleep(moments.uniform(*OUTAGE))
    rig.server.answer(True)
    return True


# Disks ---------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk_rig() -> Iterator[Rig]:
    """Studies on a file system of their own. Needs root."""
    with local_rig() as rig:
        disk = Path(rig.studies)
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "nt-study-torture", str(disk)], check=True)
        try:
            yield rig
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill_disk(rig: Rig, driver: Driver, moments: random.Random) -> bool:
    filler = Path(rig.studies) / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**16))
    time.sleep(moments.uniform(*OUTAGE))
    filler.unlink()
    return True


FAILING_WRITES = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd) {
    const char *trigger = getenv("TORTURE_TRIGGER"), *folder = getenv("TORTURE_FOLDER");
    if (!trigger || !folder || access(trigger, F_OK)) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return !strncmp(path, folder, strlen(folder));
}

#define FAILING(result, name, parameters, arguments) \
    result name parameters { \
        static result (*real) parameters; \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        if (fails(fd)) { errno = EIO; return -1; } \
        return real arguments; \
    }

FAILING(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
FAILING(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
FAILING(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
FAILING(int, fsync, (int fd), (fd))
FAILING(int, fdatasync, (int fd), (fd))
"""
"""Write calls that fail with EIO for files below a folder while a trigger file exists."""


@contextlib.contextmanager
def failing_disk_rig() -> Iterator[Rig]:
    """Studies whose writes can be made to fail, by a preloaded library. Needs a C compiler."""
    with local_rig() as rig:
        library = rig.folder / "failing.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library), "-ldl"],
            input=FAILING_WRITES,
            text=True,
            check=True,
        )
        rig.environment = {
            # The linker takes a space in LD_PRELOAD for the end of a name.
            "LD_PRELOAD": shutil.copy(library, tempfile.mkdtemp(prefix="nt-study-torture-")),
            "TORTURE_TRIGGER": str(rig.folder / "trigger"),
            "TORTURE_FOLDER": rig.studies,
        }
        yield rig
        shutil.rmtree(Path(rig.environment["LD_PRELOAD"]).parent)


def fail_writes(rig: Rig, driver: Driver, moments: random.Random) -> bool:
    trigger = Path(rig.environment["TORTURE_TRIGGER"])
    trigger.touch()
    time.sleep(moments.uniform(0.5, 5))
    trigger.unlink()
    return True


def free_port() -> int:
    from tests.ports import free_port

    return free_port()


INJECTIONS = {
    "SIGKILL: driver": Injection(local_rig, kill_driver, (KILLED,)),
    "SIGKILL: trial": Injection(local_rig, kill_child("ray::ResourceTr"), (0,)),
    "SIGKILL: raylet": Injection(local_rig, kill_child("raylet"), (0, SENTENCE, RAYS_OWN)),
    "SIGKILL: GCS": Injection(local_rig, kill_child("gcs_server"), (0, SENTENCE, RAYS_OWN)),
    "Ctrl-C": Injection(local_rig, interrupt, (INTERRUPTED,)),
    "SIGKILL: MLflow's server": Injection(mlflow_rig, kill_mlflow, (0,)),
    "SIGKILL: PostgreSQL with Optuna's study": Injection(postgres_rig, kill_postgres, (0, SENTENCE)),
    "object store stops answering": Injection(bucket_rig, stop_object_store, (0, SENTENCE)),
    "ENOSPC": Injection(small_disk_rig, fill_disk, (0, SENTENCE)),
    "EIO": Injection(failing_disk_rig, fail_writes, (0, SENTENCE)),
}
"""Races are in `__main__`: they begin two drivers."""
