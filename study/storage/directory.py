"""A study's folder: the one place that knows which file is where, and that writes them so that a kill leaves no half.

studies/
  mlflow.db, mlartifacts/     what MLflow shows (rebuilt from the rest at any time)
  <name>/
    study.yaml                the frozen study file; what of it may change later: `frozen.COUNT_NOTHING`, and more suite
    launched.yaml             the same as it was at the launch
    environment.json          versions, hardware, data fingerprint, MOS range
    split.parquet             every image: content, hash, split, MOS
    optuna.db                 the search's memory (in a bucket: optuna/, a log in pieces)
    lock                      who is running the study now (in a bucket: locks/)
    stop                      somebody asked for its end
    logs/driver.log
    trials/<trial>/           config.json, starts.jsonl (when, where), epochs.jsonl, scores.parquet, model.safetensors,
                              result.json, trial.log
                              start.safetensors, where NT trials start (of the baseline), error.txt
    black_box/                surrogates and perturbations that the full suite trained, the same for all its trials
    front/                    front.json, pareto.html, pareto.png, confirmed.json (what new seeds found)
    confirm/seed-<n>/         the same trials with another seed: a study like this one, and members.json
    refit/                    chosen trials trained on training and validation images together: a study like this one
    mlflow.json               which runs in MLflow are which trials
    mlflow.behind             while MLflow has not heard how the study ended

Where the studies are in a bucket, these are the files of a working copy, and what is said here of sending and fetching
happens (`study/storage/mirror.py`); in a plain folder there is nothing to send.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from search_spaces.schema import StudyFile, did_you_mean, read_frozen
from study.errors import StudyError
from study.storage.lease import Lease, ask_to_stop, read_holder
from study.storage.lock import StudyLock, is_gone
from study.storage.mirror import Mirror, mirror_of, place_of, studies_folder
from study.storage.reading import read_object
from study.suggest import command
from trainables.config import BASELINE
from trainables.files import write_atomically
from trainables.record import START_WEIGHTS, WEIGHTS
from trainables.trust import link_out, read_regular, special_file

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
WRITTEN_IN_PLACE = (".*", "lock", "stop", "mlflow.behind", "optuna.db*")
"""Files that are opened to be added to or held, and not replaced whole."""
REFIT = "refit"
"""The folder of a study's refits, in the study's."""


@dataclass(frozen=True)
class StudyDirectory:
    """Paths and small files of one study."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def mirror(self) -> Mirror | None:
        """The bucket that this is a working copy of, or None."""
        return mirror_of(self.path)

    @property
    def place(self) -> str:
        """Where the study is, as its user knows it."""
        return place_of(self.path)

    def command(self, verb: str, *words: str | Path) -> str:
        """The command line `nt-study VERB NAME WORDS…` for this study, to be suggested."""
        return command(verb, self.name, *words, studies=self.path.parent)

    @property
    def address(self) -> str:
        """What another process, on whatever node, gives to `open_directory`."""
        if self.mirror is None:
            return str(self.path.resolve())
        return f"{self.mirror.uri}#{self.path.relative_to(self.mirror.root).as_posix()}"

    @property
    def trials(self) -> Path:
        return self.path / "trials"

    @property
    def front(self) -> Path:
        return self.path / "front"

    @property
    def black_box(self) -> Path:
        return self.path / "black_box"

    @property
    def driver_log(self) -> Path:
        return self.path / "logs" / "driver.log"

    @property
    def optuna_url(self) -> str:
        return f"sqlite:///{self.path.resolve() / 'optuna.db'}"

    @property
    def search_place(self) -> str:
        """Where the search's memory is, as its user knows it."""
        return self.optuna_url if self.mirror is None else place_of(self.search_log)

    @property
    def search_log(self) -> Path:
        """What takes the data base's place where the studies are in a bucket."""
        return self.path / "optuna"

    def trial(self, trial: str) -> Path:
        return self.trials / trial

    def read_study_file(self) -> StudyFile:
        return read_frozen(self.path / "study.yaml", f"study {self.name}")

    def write_study_file(self, study_file: StudyFile) -> None:
        self.check_there()
        write_atomically(self.path / "study.yaml", study_file.to_yaml().encode())

    def ask_for_trials(self, trials: int, *, more: bool = False) -> None:
        """Have the study ask for so many NT trials in all, or for so many more. StudyError where that were fewer."""
        with self.locked():
            study_file = self.read_study_file()
            wanted = study_file.trials + trials if more else trials
            if wanted < study_file.trials:
                raise StudyError(f"study {self.name!r} already asks for {study_file.trials} trials; it can only grow")
            self.write_study_file(study_file.model_copy(update={"trials": wanted}))
            self.send()

    def read_launched_file(self) -> StudyFile:
        return read_frozen(self.path / "launched.yaml", f"study {self.name}")

    def read_split(self) -> pd.DataFrame:
        """Rows of every image: index, image, content, sha256, split, raw_mos and mos (0..100, Eq. S10)."""
        return pd.read_parquet(io.BytesIO(read_regular(self.path / "split.parquet", inside=self.path)))

    def write_split(self, rows: pd.DataFrame) -> None:
        write_atomically(self.path / "split.parquet", lambda file: rows.to_parquet(file, index=False))

    def read_json(self, relative: str) -> dict[str, Any]:
        """A JSON object. FileNotFoundError without the file; UnreadableFileError, naming it, where it is no object."""
        return read_object(self.path / relative)

    def check_there(self) -> None:
        """StudyError where the study's folder was deleted: whoever still writes would bring fragments of it back."""
        if not self.path.is_dir():
            raise StudyError(f"the folder of study {self.name!r}, {self.place}, was deleted; nothing more is written")

    def write_json(self, relative: str, content: dict[str, Any]) -> None:
        self.check_there()
        write_atomically(self.path / relative, json.dumps(content, indent=1, ensure_ascii=False).encode())

    def write_result(self, trial: str, state: str, reason: str = "") -> None:
        """Record how a trial ended: complete, pruned or failed, and why."""
        self.write_json(f"trials/{trial}/result.json", {"state": state, "reason": reason, "finished": time.time()})
        self.send_file(trial, "result.json")

    def remove(self, relative: str) -> None:
        """Delete a file, if it is there."""
        if self.mirror is None:
            (self.path / relative).unlink(missing_ok=True)
        else:
            self.mirror.delete(self.path / relative)

    def weights(self, trial: str) -> Path:
        """The trial's shipped weights, fetched if need be; the path of nothing where there are none."""
        path = self.trial(trial) / WEIGHTS
        if self.mirror is not None:
            self.mirror.fetch(path)
        return path

    def send(self) -> None:
        """Send what the driver wrote about the study itself. Its trials send their own files."""
        if self.mirror is not None:
            for folder in (self.path, self.driver_log.parent, self.front):
                self.mirror.push(folder, deep=False)

    def refresh(self) -> None:
        """Fetch what others have written; all of it, unless a driver here has written what it has not sent yet."""
        if self.mirror is None:
            return
        with self.mirror.alone():
            if self.lock.owner() is None:
                self.mirror.pull(self.path, lambda file: self._is_read(file) and not self._is_of_search(file))
            else:
                self._fetch_trials(self.trials)
        refits = [folder for folder in self.mirror.folders(self.path) if folder.name == REFIT]
        for inner in (*self.mirror.folders(self.path / "confirm"), *refits):
            StudyDirectory(inner).refresh()

    def fetch_trial(self, trial: str) -> None:
        """Fetch what a trial has written, but its weights."""
        if self.mirror is not None:
            with self.mirror.alone():
                self._fetch_trials(self.trial(trial), exact=True)

    def fetch_for(self, trial: str) -> None:
        """On a node: fetch what a trial needs, which is study file, split, what it starts from and what it has left."""
        if self.mirror is not None:
            start = self.trial(BASELINE) / START_WEIGHTS
            for file in (self.path / "study.yaml", self.path / "split.parquet", start):
                self.mirror.fetch(file)
            self.mirror.pull(self.trial(trial))

    def fetch_file(self, trial: str, name: str) -> None:
        """On a node: bring one of a trial's files up to date."""
        if self.mirror is not None:
            self.mirror.fetch(self.trial(trial) / name)

    def send_file(self, trial: str, name: str) -> None:
        if self.mirror is not None:
            self.mirror.upload([self.trial(trial) / name])

    def fetch_black_box(self) -> None:
        if self.mirror is not None:
            self.mirror.pull(self.black_box)

    def keep_black_box(self, place: Path, root: Path) -> Path:
        """Copy a file or folder below `root` into the study, unless it has one of that name; its path in the study."""
        for file in [place] if place.is_file() else sorted(place.iterdir()):
            kept = self.black_box / file.relative_to(root)
            if not kept.exists():
                kept.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(kept, file.read_bytes())
        return (self.black_box / place.relative_to(root)).relative_to(self.path)

    def send_black_box(self) -> None:
        if self.mirror is not None:
            self.mirror.push(self.black_box)

    def send_from(self, trial: str) -> None:
        """On a node: send what a trial has written."""
        if self.mirror is not None:
            self.mirror.push(self.trial(trial))

    def leave(self, trial: str) -> None:
        """On a node: keep nothing of a trial whose record has been sent, and the bucket no checkpoint."""
        if self.mirror is not None:
            self.mirror.delete(self.trial(trial) / "checkpoint.pt")
            shutil.rmtree(self.trial(trial))

    def _fetch_trials(self, folder: Path, *, exact: bool = False) -> None:
        assert self.mirror is not None
        self.mirror.pull(folder, lambda file: self._is_read(file) and file.name != "result.json", exact=exact)

    def _is_read(self, file: Path) -> bool:
        """Whether a file is small and of this study itself."""
        below = file.relative_to(self.path).parts[0]
        return file.suffix not in (".safetensors", ".pt") and below not in ("locks", "confirm", REFIT, "black_box")

    def _is_of_search(self, file: Path) -> bool:
        return self.search_log in file.parents

    @cached_property
    def lock(self) -> StudyLock:
        return StudyLock(self.path)

    def owner(self) -> dict[str, Any] | None:
        """Who runs the study now, or None; a lock whose process is gone is no owner."""
        here = self.lock.owner()
        if here is None and self.mirror is not None:
            return read_holder(self.mirror, self.path, is_gone)
        return here

    def request_stop(self) -> None:
        """Ask whoever runs the study, on whatever machine, to end it gracefully."""
        if self.mirror is not None:
            ask_to_stop(self.mirror, self.path)
        (self.path / "stop").touch()

    def stop_requested(self) -> bool:
        """Whether a driver has to end: somebody asked for it, or the study is not this driver's any more."""
        return self.lock.lost.is_set() or (self.path / "stop").exists()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the study for this process; StudyError when another one does."""
        with (
            self.lock.held() as content,
            contextlib.nullcontext() if self.mirror is None else self._leased(self.mirror, content),
        ):
            yield

    @contextlib.contextmanager
    def _leased(self, mirror: Mirror, content: dict[str, Any]) -> Iterator[None]:
        """Hold the study in its bucket too, beginning with what is there and leaving what there is to leave."""

        def exchange() -> None:
            for folder in (self.path, self.driver_log.parent):  # not the front: its files are megabytes
                mirror.push(folder, deep=False)
            # The thread that calls this renews the lease, too: behind a long pull it would be taken for gone.
            with mirror.alone(wait=False):
                self._fetch_trials(self.trials)

        stop = self.path / "stop"
        with Lease(mirror, self.path, content, is_gone=is_gone, stop=stop.touch, exchange=exchange) as lease:
            with mirror.alone():
                mirror.pull(self.path, self._is_read)
            try:
                yield
            finally:
                if not lease.lost:
                    self.send()
        if lease.lost:
            raise StudyError(
                f"study {self.name!r} was taken over by another driver, because this one had not been heard of for too "
                f"long; see who runs it with: {self.command('status')}"
            )


def open_directory(address: str) -> StudyDirectory:
    """The study of a `StudyDirectory.address`, on a node: in a bucket's case, its trials' own working copy there."""
    studies, _, name = address.partition("#")
    return StudyDirectory(studies_folder(studies, copy="trials") / name)


def check_new(studies: Path, name: str) -> None:
    """StudyError when a new study cannot have this name."""
    if not NAME.fullmatch(name):
        raise StudyError(f"{name!r} cannot name a study: use letters, digits, '.', '_' and '-', 64 at most")
    if exists(studies, name):
        raise StudyError(
            f"there is already a study named {name!r} in {place_of(studies)}; continue it with "
            f"`{command('resume', name, studies=studies)}` or choose another --name"
        )


def create(
    studies: Path,
    name: str,
    study_file: StudyFile,
    *,
    rows: pd.DataFrame | None = None,
    files: Mapping[str, dict[str, Any]] | None = None,
) -> StudyDirectory:
    """Make the folder of a new study, with its split and JSON files, name -> content, as far as they are given.

    The study file is written last: without one, whatever a kill has left is no study, and the next launch overwrites
    it. StudyError when the name is taken or unusable or the place cannot be written.
    """
    check_new(studies, name)
    directory = StudyDirectory(studies / name)
    check_links(directory.path)
    _refuse_others_files(directory.path, ("split.parquet", *(files or ())))
    try:
        directory.trials.mkdir(parents=True, exist_ok=True)
        with directory.locked():
            check_new(studies, name)  # another launcher may have been faster
            write_atomically(directory.path / "launched.yaml", study_file.to_yaml().encode())
            if rows is not None:
                directory.write_split(rows)
            for file, content in (files or {}).items():
                directory.write_json(file, content)
            directory.write_study_file(study_file)
    except OSError as error:
        raise StudyError(
            f"cannot write to {place_of(studies)}: {os.strerror(error.errno or 0)}; choose another --studies"
        ) from None
    return directory


def _refuse_others_files(path: Path, names: Iterable[str]) -> None:
    """StudyError where a new study would write over files that no launch has left: the first that it writes is
    launched.yaml."""
    taken = [path / name for name in names if (path / name).exists()]
    if taken and not (path / "launched.yaml").exists():
        raise StudyError(f"{taken[0]} is there and of no study, so nothing is launched over it; choose another --name")


def exists(studies: Path, name: str) -> bool:
    """Whether there is a study of this name; if there is, its folder is up to date."""
    directory = StudyDirectory(studies / name)
    if directory.mirror is not None:
        directory.mirror.check()
        directory.refresh()
    return (directory.path / "study.yaml").exists()


def find(studies: Path, name: str) -> StudyDirectory:
    """The folder of an existing study. StudyError, with the nearest name, when there is none."""
    if not exists(studies, name):
        known = [study.name for study in find_all(studies)]
        listing = f"; there are: {', '.join(known)}" if known else "; there is none yet"
        raise StudyError(f"no study named {name!r} in {place_of(studies)}{did_you_mean(name, known)}{listing}")
    if (special := special_file(studies / name)) is not None:
        raise StudyError(f"{special} is a pipe, a socket or a device, which no study holds; remove it first")
    check_links(studies / name)
    return StudyDirectory(studies / name)


def check_links(study: Path) -> None:
    """StudyError where what is written into the study's folder would land elsewhere."""
    if (link := link_out(study, WRITTEN_IN_PLACE)) is not None:
        raise StudyError(
            f"{link} is a link that leads out of the study, to {link.readlink()}, where nothing of the study is "
            "written; put what belongs into the study in its place, or remove it"
        )


def find_all(studies: Path) -> list[StudyDirectory]:
    """Every study under a folder, by name."""
    mirror = mirror_of(studies)
    if mirror is None:
        return [StudyDirectory(path.parent) for path in sorted(studies.glob("*/study.yaml"))]
    mirror.check()
    return [StudyDirectory(path) for path in mirror.folders(studies) if exists(studies, path.name)]
