"""Trials on Ray Tune: an actor per trial, its resources, retries. Tune only schedules: the study's folder remembers."""

from __future__ import annotations

import logging
import tempfile
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune import Callback, FailureConfig, PlacementGroupFactory, RunConfig, Stopper, TuneConfig

from search_spaces.schema import Resources, StudyFile
from study.directory import StudyDirectory
from study.search import DurableSearch
from study.unpickled import Unpickled
from trainables.config import BASELINE

if TYPE_CHECKING:
    from trainables.trial import Trial


class TrialActor(tune.Trainable):
    """Runs one `trainables.trial.Trial`, an epoch a step; the last step also writes the record.

    The actor is reused for the next trial, so imports and the mapped images are paid for once. What the trial keeps
    lies in its own folder; a restarted actor finds it there.
    """

    trial: Trial | None

    def setup(self, config: dict[str, Any]) -> None:
        # Tune may set an actor up for one trial and reuse it for another, so nothing is touched before the first step.
        self.trial = None
        self.folder = StudyDirectory(Path(config["directory"])).trial(config["trial"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def _begin(self) -> Trial:
        import torch

        from trainables.data import open_dataset
        from trainables.trial import Trial

        directory = StudyDirectory(Path(self.config["directory"]))
        study_file = directory.read_study_file()
        assigned = ray.get_runtime_context().get_assigned_resources()
        torch.set_num_threads(max(1, int(assigned.get("CPU", 1))))
        return Trial(
            study_file.trial_config(self.config["trial"], self.config["point"]),
            open_dataset(study_file.data, skip_unreadable=study_file.skip_unreadable).store,
            directory.read_split(),
            self.folder,
            start=directory.trial(BASELINE),
            device="cuda" if torch.cuda.is_available() else "cpu",
        )

    def step(self) -> dict[str, Any]:
        with _errors_kept(self.folder):
            trial = self.trial = self.trial or self._begin()
            if not trial.finished:
                trial.run_epoch()
            if trial.finished:
                trial.write_record()
            return {**trial.epochs[-1], "done": trial.finished}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the trial keeps its own checkpoint in its folder."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: `setup` restored the trial from its folder."""


class _errors_kept:  # noqa: N801  (a context manager, named as it is read)
    """Write the traceback of whatever goes wrong inside to the trial's folder, and log to `trial.log` meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.handler = logging.FileHandler(self.folder / "trial.log", delay=True)
        self.handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(self.handler)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        logging.getLogger().removeHandler(self.handler)
        self.handler.close()
        if error is not None and isinstance(error, Exception):
            text = "".join(traceback.format_exception(kind, error, trace))
            (self.folder / "error.txt").write_text(text, encoding="utf-8")


class StopOnRequest(Unpickled, Stopper):
    """Ends the run, leaving unfinished trials to be resumed, once `requested` is set."""

    def __init__(self, requested: threading.Event) -> None:
        self.requested = requested

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.requested.is_set()


def resources_of_trials(study_file: StudyFile) -> Resources:
    """What one NT trial reserves: as the study file says, or one CPU, and one GPU where the cluster has any."""
    if study_file.resources_per_trial is not None:
        return study_file.resources_per_trial
    return Resources(cpu=1, gpu=1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0)


def run_trials(
    directory: StudyDirectory,
    study_file: StudyFile,
    search: DurableSearch,
    callbacks: list[Callback],
    stop: threading.Event,
) -> None:
    """Run whatever the searcher still has to run. Returns when all is done or `stop` was set and trials have ended."""
    wanted = resources_of_trials(study_file)
    reserved = PlacementGroupFactory([{"CPU": wanted.cpu, "GPU": wanted.gpu, **wanted.custom}])
    with tempfile.TemporaryDirectory(prefix="nt-study-") as scratch:
        tune.Tuner(
            tune.with_resources(TrialActor, reserved),
            param_space={"directory": str(directory.path.resolve())},
            tune_config=TuneConfig(
                search_alg=search,
                num_samples=search.remaining,
                max_concurrent_trials=study_file.max_concurrent,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=RunConfig(
                name=directory.name,
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=study_file.max_failures),
                callbacks=callbacks,
                stop=StopOnRequest(stop),
                verbose=0,
            ),
        ).fit()
