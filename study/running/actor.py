"""The process that runs trials on a node. It imports little: its start is what a study waits for first."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from study.errors import StudyError
from study.storage.directory import StudyDirectory, open_directory
from study.storage.summaries import read_epochs
from trainables.config import BASELINE
from trainables.files import write_atomically
from trainables.logs import LogFile
from trainables.record import SCORES
from trainables.trust import in_place, without_secrets

if TYPE_CHECKING:
    from trainables.trial import Trial

STARTS = "starts.jsonl"


RECORD_SECONDS = "record_seconds"
"""Key of a trial's last result: what attacking and scoring its model took."""
FAILED = "failed"
"""Key of a trial's last result: the error that it ended with, where another attempt would end with the same."""


class TrialActor(tune.Trainable):
    """Runs one `trainables.trial.Trial`, an epoch a step; the last step also writes the record.

    The actor is reused for the next trial, so imports and the mapped images are paid for once. What the trial keeps
    lies in its own folder; a restarted actor finds it there.
    """

    trial: Trial | None

    def setup(self, config: dict[str, Any]) -> None:
        # Tune may set an actor up for one trial and reuse it for another, so nothing is touched before the first step.
        self.trial = None
        self.directory = open_directory(config["directory"])
        self.folder = self.directory.trial(config["trial"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def _begin(self) -> Trial:
        import torch

        from study.storage.images import images_of
        from trainables.trial import Trial

        directory = self.directory
        study_file = directory.read_study_file()
        assigned = ray.get_runtime_context().get_assigned_resources()
        torch.set_num_threads(max(1, int(assigned.get("CPU", 1))))
        trial = Trial(
            study_file.trial_config(self.config["trial"], self.config["point"]),
            *images_of(directory),
            self.folder,
            start=directory.trial(BASELINE),
            device="cuda" if assigned.get("GPU", 0) > 0 else "cpu",
        )
        self.directory.remove(f"trials/{self.config['trial']}/error.txt")  # of an attempt before this one
        self.start = note_start(self.directory, self.config["trial"], epochs_before=len(trial.epochs))
        return trial

    def step(self) -> dict[str, Any]:
        if self.trial is None:
            self.directory.fetch_for(self.config["trial"])
        if not (self.directory.path / "study.yaml").exists():
            node = ray.util.get_node_ip_address()
            raise StudyError(f"node {node} does not see the study's folder {self.directory.place}")
        self._check_latest()
        try:
            result = self._step()
        finally:
            self._check_latest()
            self.directory.send_from(self.config["trial"])
        if result["done"]:
            self.directory.leave(self.config["trial"])
        return result

    def _check_latest(self) -> None:
        if self.trial is not None:
            check_latest(self.directory, self.config["trial"], self.start)

    def _step(self) -> dict[str, Any]:
        if self.trial is None and (self.folder / SCORES).exists():
            # It has its record: only the driver was not there to hear of it.
            return {**read_epochs(self.folder)[-1], "done": True}
        try:
            with _errors_kept(self.folder):
                trial = self.trial = self.trial or self._begin()
                if not trial.finished:
                    trial.run_epoch()
                recorded = {}
                if trial.finished:
                    started = time.perf_counter()
                    trial.write_record()
                    recorded = {RECORD_SECONDS: time.perf_counter() - started}
                return {**trial.epochs[-1], **recorded, "done": trial.finished}
        except Exception as error:
            if not is_permanent(error):
                raise
            # A result and no exception, or Tune would start the trial again.
            return {"done": True, FAILED: without_secrets("".join(traceback.format_exception_only(error)).strip())}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the trial keeps its own checkpoint in its folder."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: the first step restores the trial from its folder."""


def is_permanent(error: BaseException) -> bool:
    """Whether the same trial, started again, would end with the same error.

    It would where its values, images or code are at fault. Processes, nodes, networks, GPUs and disks may recover.
    """
    from trainables.train import DivergedError

    if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
        return False
    ours = (ValueError, TypeError, LookupError, AttributeError, AssertionError, NotImplementedError, DivergedError)
    return isinstance(error, ours)


def note_start(directory: StudyDirectory, trial: str, *, epochs_before: int) -> dict[str, Any]:
    """Add to `starts.jsonl` where the trial goes on, on which GPUs, after how many epochs; returns what it added."""
    start = {
        "node": ray.get_runtime_context().get_node_id(),
        "host": socket.gethostname(),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "epochs_before": epochs_before,
        "time": time.time(),
    }
    with open(directory.trial(trial) / STARTS, "a", encoding="utf-8", opener=in_place) as file:
        file.write(json.dumps(start) + "\n")
    directory.send_file(trial, STARTS)  # for one that was cut off to see it
    return start


def check_latest(directory: StudyDirectory, trial: str, start: dict[str, Any]) -> None:
    """StudyError when the trial has been started elsewhere since `start`.

    A node whose network is cut trains on for a minute, and may still see the studies when the trial goes on elsewhere.
    """
    directory.fetch_file(trial, STARTS)
    *_, latest = (directory.trial(trial) / STARTS).read_text(encoding="utf-8").splitlines()
    if json.loads(latest) != start:
        raise StudyError(f"trial {trial} was started again on {json.loads(latest)['host']}, so it ends here")


class _errors_kept:  # noqa: N801  (a context manager, named as it is read)
    """Write the traceback of whatever goes wrong inside to the trial's folder, and log to `trial.log` meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.handler = LogFile(self.folder / "trial.log")
        logging.getLogger().addHandler(self.handler)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        logging.getLogger().removeHandler(self.handler)
        self.handler.close()
        if error is not None and isinstance(error, Exception):
            text = without_secrets("".join(traceback.format_exception(kind, error, trace)))
            with contextlib.suppress(OSError):  # a full disk has no room for it either
                write_atomically(self.folder / "error.txt", text.encode("utf-8", "replace"))
