"""Trials on Ray Tune: their resources, retries and order. Tune only schedules: the study's folder remembers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune import Callback, FailureConfig, PlacementGroupFactory, RunConfig, Stopper, TuneConfig
from ray.tune.execution import class_cache

from search_spaces.schema import StudyFile
from study.cluster.resources import needs_of, resources_of_trials
from study.running.actor import TrialActor
from study.running.unpickled import Unpickled
from study.search.durable import DurableSearch
from study.search.scheduler import FirstCome, ParetoASHA
from study.storage.directory import StudyDirectory


class StopOnRequest(Unpickled, Stopper):
    """Ends the run, leaving unfinished trials to be resumed, once `requested` says so."""

    def __init__(self, requested: Callable[[], bool]) -> None:
        self.requested = requested

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.requested()


class ForgetEnded(Unpickled, Callback):
    """Drops what Tune keeps of every metric of an ended trial: the folder has it, and studies have thousands."""

    def __init__(self) -> None:
        self.ended: list[Any] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.ended.append(trial)

    on_trial_error = on_trial_complete

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        # Not earlier: Tune notes a trial's last result after it has told of its end.
        for trial in self.ended:
            kept = trial.run_metadata
            kept.metric_analysis, kept.metric_n_steps, kept.last_result = {}, {}, {}
        self.ended.clear()


def _scheduler(directory: StudyDirectory, study_file: StudyFile, said: dict[str, str]) -> FirstCome:
    return ParetoASHA(directory, study_file, said) if study_file.scheduler.name == "pareto_asha" else FirstCome(said)


def run_trials(
    directory: StudyDirectory,
    study_file: StudyFile,
    search: DurableSearch,
    callbacks: list[Callback],
    stop: Callable[[], bool],
    actor: type[tune.Trainable] = TrialActor,
) -> None:
    """Run whatever the searcher still has to run. Returns when all is done, or `stop` said so and trials have ended."""
    # Tune gives its actors a variable meant for PyTorch Lightning, and a process with variables of its own is always a
    # new one; without it a trial gets one of those that have been importing since Ray started.
    class_cache.DEFAULT_ENV_VARS.clear()
    reserved = PlacementGroupFactory([needs_of(resources_of_trials(study_file))])
    with tempfile.TemporaryDirectory(prefix="nt-study-") as scratch:
        tune.Tuner(
            tune.with_resources(actor, reserved),
            param_space={"directory": directory.address},
            tune_config=TuneConfig(
                search_alg=search,
                scheduler=_scheduler(directory, study_file, search.said),
                num_samples=search.remaining,
                max_concurrent_trials=study_file.max_concurrent,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=RunConfig(
                name=directory.name,
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=study_file.max_failures),
                callbacks=[*callbacks, ForgetEnded()],
                stop=StopOnRequest(stop),
                verbose=0,
            ),
        ).fit()
