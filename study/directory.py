"""A study's folder: the one place that knows which file is where, and that writes them so that a kill leaves no half.

studies/
  mlflow.db, mlartifacts/     what MLflow shows (rebuilt from the rest at any time)
  <name>/
    study.yaml                the frozen study file, in which only the number of trials may grow
    launched.yaml             the same as it was at the launch
    environment.json          versions, hardware, data fingerprint, MOS range
    split.parquet             every image: content, hash, split, MOS
    optuna.db                 the search's memory
    lock                      who is running the study now
    stop                      somebody asked for its end
    logs/driver.log
    trials/<trial>/           config.json, starts.jsonl (when, where), epochs.jsonl, scores.parquet, model.safetensors,
                              result.json, trial.log
    front/                    front.json, pareto.html, pareto.png
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from search_spaces.schema import StudyFile, did_you_mean, read_frozen
from study.errors import StudyError
from trainables.files import write_atomically

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class StudyDirectory:
    """Paths and small files of one study."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def trials(self) -> Path:
        return self.path / "trials"

    @property
    def front(self) -> Path:
        return self.path / "front"

    @property
    def driver_log(self) -> Path:
        return self.path / "logs" / "driver.log"

    @property
    def optuna_url(self) -> str:
        return f"sqlite:///{self.path.resolve() / 'optuna.db'}"

    def trial(self, trial: str) -> Path:
        return self.trials / trial

    def read_study_file(self) -> StudyFile:
        return read_frozen((self.path / "study.yaml").read_text(encoding="utf-8"), f"study {self.name}")

    def write_study_file(self, study_file: StudyFile) -> None:
        write_atomically(self.path / "study.yaml", study_file.to_yaml().encode())

    def read_launched_file(self) -> StudyFile:
        return read_frozen((self.path / "launched.yaml").read_text(encoding="utf-8"), f"study {self.name}")

    def read_split(self) -> pd.DataFrame:
        """Rows of every image: index, image, content, sha256, split, raw_mos and mos (0..100, Eq. S10)."""
        return pd.read_parquet(self.path / "split.parquet")

    def write_split(self, rows: pd.DataFrame) -> None:
        write_atomically(self.path / "split.parquet", lambda file: rows.to_parquet(file, index=False))

    def read_json(self, relative: str) -> dict[str, Any]:
        return dict(json.loads((self.path / relative).read_text(encoding="utf-8")))

    def write_json(self, relative: str, content: dict[str, Any]) -> None:
        write_atomically(self.path / relative, json.dumps(content, indent=1, ensure_ascii=False).encode())

    def write_result(self, trial: str, state: str, reason: str = "") -> None:
        """Record how a trial ended: complete, pruned or failed, and why."""
        self.write_json(f"trials/{trial}/result.json", {"state": state, "reason": reason, "finished": time.time()})

    def owner(self) -> dict[str, Any] | None:
        """Who runs the study now, or None; a lock whose process is gone is no owner."""
        try:
            lock = self.read_json("lock")
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return None if _is_stale(lock) else lock

    def request_stop(self) -> None:
        """Ask whoever runs the study, on whatever machine, to end it gracefully."""
        (self.path / "stop").touch()

    def stop_requested(self) -> bool:
        return (self.path / "stop").exists()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the study for this process; StudyError when another one does."""
        self._take_lock()
        (self.path / "stop").unlink(missing_ok=True)
        try:
            yield
        finally:
            (self.path / "lock").unlink(missing_ok=True)
            (self.path / "stop").unlink(missing_ok=True)

    def _take_lock(self) -> None:
        process = psutil.Process()
        lock = {"host": socket.gethostname(), "pid": process.pid, "started": process.create_time()}
        mine = self.path / f".lock-{uuid.uuid4().hex}"
        write_atomically(mine, json.dumps(lock).encode())
        try:
            if self.owner() is None:
                (self.path / "lock").unlink(missing_ok=True)
            os.link(mine, self.path / "lock")  # fails where there is one: of two launchers one wins
        except FileExistsError:
            owner = self.owner() or {"pid": "?", "host": "another machine"}
            raise StudyError(
                f"study {self.name!r} is being run by process {owner['pid']} on {owner['host']}; wait for it, watch it "
                f"with 'nt-study status {self.name}', or end it with 'nt-study stop {self.name}'; if that machine is "
                f"gone, delete {self.path / 'lock'}"
            ) from None
        finally:
            mine.unlink(missing_ok=True)


def _is_stale(lock: dict[str, Any]) -> bool:
    """A lock of this host whose process has ended, or whose pid now belongs to a younger process."""
    if lock.get("host") != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(lock["pid"]).create_time() - lock["started"]) > 1
    except (psutil.NoSuchProcess, KeyError):
        return True


def check_new(studies: Path, name: str) -> None:
    """StudyError when a new study cannot have this name."""
    if not NAME.fullmatch(name):
        raise StudyError(f"{name!r} cannot name a study: use letters, digits, '.', '_' and '-', 64 at most")
    if (studies / name / "study.yaml").exists():
        raise StudyError(
            f"there is already a study named {name!r} in {studies}; continue it with 'nt-study resume {name}' "
            "or choose another --name"
        )


def create(studies: Path, name: str, study_file: StudyFile) -> StudyDirectory:
    """Make the folder of a new study. StudyError when the name is taken or unusable or the place cannot be written."""
    check_new(studies, name)
    directory = StudyDirectory(studies / name)
    try:
        directory.trials.mkdir(parents=True, exist_ok=True)
        write_atomically(directory.path / "launched.yaml", study_file.to_yaml().encode())
        directory.write_study_file(study_file)
    except OSError as error:
        raise StudyError(
            f"cannot write to {studies}: {os.strerror(error.errno or 0)}; choose another --studies"
        ) from None
    return directory


def find(studies: Path, name: str) -> StudyDirectory:
    """The folder of an existing study. StudyError, with the nearest name, when there is none."""
    directory = StudyDirectory(studies / name)
    if not (directory.path / "study.yaml").exists():
        known = [study.name for study in find_all(studies)]
        listing = f"; there are: {', '.join(known)}" if known else "; there is none yet"
        raise StudyError(f"no study named {name!r} in {studies}{did_you_mean(name, known)}{listing}")
    return directory


def find_all(studies: Path) -> list[StudyDirectory]:
    """Every study under a folder, by name."""
    return [StudyDirectory(path.parent) for path in sorted(studies.glob("*/study.yaml"))]
