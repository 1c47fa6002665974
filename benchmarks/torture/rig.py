"""A real study under torture: where it lives, how it is started, and whether it is whole in the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from benchmarks.torture.small_study import write_study_file
from study.storage.directory import StudyDirectory, find
from study.storage.mirror import studies_folder
from study.tracking.tracker import is_behind

LONGEST = 900.0
"""Seconds after which a driver that was hurt is said to hang."""


@dataclass
class Rig:
    """One study, its folder and what its commands are given."""

    folder: Path
    studies: str
    launch_options: Sequence[str] = ()
    options: Sequence[str] = ()
    """Of `launch` and of `resume`."""
    environment: dict[str, str] = field(default_factory=dict)
    tracking_uri: str = ""
    """A server; by default MLflow's store beside the studies."""
    server: object = None
    """What is hit, where that is no process of the driver's."""

    @property
    def directory(self) -> StudyDirectory:
        return find(studies_folder(self.studies), "hurt")

    @property
    def is_begun(self) -> bool:
        """Whether there is something to resume. A study in a bucket is asked for by a command."""
        if "://" not in self.studies:
            return (Path(self.studies) / "hurt" / "study.yaml").exists()
        return self.run("status", "hurt", "--studies", self.studies).returncode == 0

    def command(self) -> list[str]:
        if self.is_begun:
            return ["resume", "hurt", "--studies", self.studies, *self.options]
        study_file = str(self.folder / "study.yaml")
        return ["launch", study_file, "--name", "hurt", "--studies", self.studies, *self.options, *self.launch_options]

    def start(self, command: Sequence[str] | None = None, mode: Literal["w", "a"] = "w") -> subprocess.Popen[str]:
        """A driver, with its output in a file: a pipe would be held open by what outlives it."""
        with (self.folder / "output.txt").open(mode) as file:
            return subprocess.Popen(
                [sys.executable, "-m", "study.cli", *(command or self.command())],
                env=os.environ | self.environment,
                cwd=self.folder,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                # Whoever runs this in the background has its children ignore Ctrl-C.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "study.cli", *arguments],
            env=os.environ | self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )

    def said(self) -> str:
        return (self.folder / "output.txt").read_text(encoding="utf-8", errors="replace")

    def finish(self) -> list[str]:
        """Resume until the study is finished; returns what went wrong, in words."""
        for _ in range(3):
            driver = self.start()
            if problem := ended(driver):
                return [problem]
            if driver.returncode == 0:
                if is_behind(self.directory):  # and a sentence has said what to do
                    self.run("sync", "hurt", "--studies", self.studies)
                return []
        return [f"three resumes did not finish it; the last one said: {self.said()[-400:]}"]


def ended(driver: subprocess.Popen[str], seconds: float = LONGEST) -> str:
    """Wait for a driver. Returns what is wrong where it hangs; it is killed then, with what it has started."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        driver.wait(timeout=seconds)
        return ""
    for process in [*children(driver), psutil.Process(driver.pid)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    driver.wait()
    return f"the driver still ran {seconds:g} s later"


def children(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(driver.pid).children(recursive=True)
    return []


def until(reached: Callable[[], bool], driver: subprocess.Popen[str], seconds: float) -> bool:
    """Wait for something while a driver runs; whether it came."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and driver.poll() is None:
        if reached():
            return True
        time.sleep(0.05)
    return False


@contextlib.contextmanager
def local_rig() -> Iterator[Rig]:
    """A study in a folder whose name holds a space, brackets and an umlaut."""
    folder = Path(tempfile.mkdtemp(prefix="nt study [ü] "))
    write_study_file(folder)
    yield Rig(folder, str(folder / "studies"))
    shutil.rmtree(folder, ignore_errors=True)
