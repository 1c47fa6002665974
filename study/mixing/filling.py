"""Filling a study's front with mixtures of its trials: which ones, where they run, and how they are written down.

Optuna hears nothing of mixtures: nothing was suggested, and what λ and h trained them has no answer. Everything about
them is in their folders, beside the trials'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console

from analysis.filling import most_promising, paths
from analysis.front import TrialPoint
from search_spaces.schema import StudyFile
from study.errors import StudyError
from study.looking.front_files import front_of
from study.running.standstill import Standstill
from study.running.waiting import waiting
from study.storage.directory import StudyDirectory, open_directory
from study.storage.reading import read_object
from study.storage.summaries import TrialSummary, summarise
from trainables.config import Mixture, trial_config_from_dict

if TYPE_CHECKING:
    from trainables.data.store import ImageStore

STOP_SECONDS = 1.0
"""How long a request to stop may go unheard."""


def fill(
    directory: StudyDirectory,
    console: Console,
    stop: Callable[[], bool],
    changed: Callable[[], None] = lambda: None,
) -> None:
    """Measure mixtures where they promise most, until the study file's number is spent or none promises enough.

    Ray must be running. What one round finds decides on the next, so a round is as wide as the cluster. A run that was
    killed begins with the mixtures that it left half-made.
    """
    import ray

    from study.cluster.resources import resources_of_trials, slots_of

    study_file = directory.read_study_file()
    wanted = resources_of_trials(study_file)
    width = min(slots_of(wanted), study_file.max_concurrent or study_file.mixtures)
    options = {"num_cpus": wanted.cpu, "num_gpus": wanted.gpu, "resources": wanted.custom}
    remote = ray.remote(**options, max_restarts=1, max_task_retries=1)(_Mixer)
    mixers: list[Any] = []
    standstill = Standstill(console.print, f"Ctrl-C, and {directory.command('resume')}")
    made = 0
    with waiting(console, "measuring mixtures") as say:
        while not stop() and (round_ := to_fill(directory, study_file, width)):
            mixers += [remote.remote(directory.address) for _ in round_[len(mixers) :]]
            pending = {mixer.record.remote(one): one for mixer, one in zip(mixers, round_, strict=False)}
            while pending and not stop():
                done, _ = ray.wait(list(pending), timeout=STOP_SECONDS)
                standstill.look(len(done))
                for task in done:
                    _note(directory, pending.pop(task), task, console)
                    made += 1
                    say(f"measuring mixtures: {made} done, {study_file.mixtures} at most")
                    changed()
    for mixer in mixers:
        ray.kill(mixer)
    if not stop():
        for path in paths(points_of(directory), study_file.objectives):
            if path.is_blocked:
                console.print(
                    f"no mixtures of {path.ends[0].trial} and {path.ends[1].trial}: their middle's SROCC is "
                    f"{path.barrier:.2f} below the worse of the two",
                    highlight=False,
                )


def to_fill(directory: StudyDirectory, study_file: StudyFile, count: int = 1) -> list[Mixture]:
    """Up to `count` mixtures to measure next: first those that were begun, then the most promising ones."""
    if study_file.mixtures == 0:
        return []
    mixed = [trial for trial in summarise(directory) if trial.is_mixture]
    begun = [trial for trial in mixed if trial.state in ("running", "waiting")]
    left = max(0, study_file.mixtures - (len(mixed) - len(begun)))
    if begun:
        again = [mixture for mixture in (Mixture.named(trial.trial) for trial in begun) if mixture is not None]
        return again[: min(count, left)]
    failed = [trial.trial for trial in mixed if trial.state == "failed"]
    return most_promising(points_of(directory), study_file.objectives, count=min(count, left), tried=failed)


def points_of(directory: StudyDirectory) -> list[TrialPoint]:
    """Every finished trial and mixture; nothing while there is no front."""
    try:
        return list(front_of(directory).points)
    except ValueError:
        return []


def record(directory: StudyDirectory, mixture: Mixture, images: ImageStore, rows: pd.DataFrame, device: str) -> None:
    """Make a mixture, here, and write its record. StudyError where a parent has left no weights."""
    from trainables.mixture import record_mixture

    parents = []
    for parent in mixture.parents:
        directory.fetch_file(parent, "config.json")
        if not directory.weights(parent).exists():
            raise StudyError(f"{mixture.name} cannot be made: trial {parent} has left no weights")
        folder = directory.trial(parent)
        config = trial_config_from_dict(read_object(folder / "config.json"))
        parents.append((config, folder))
    record_mixture(mixture, directory.trial(mixture.name), (parents[0], parents[1]), images, rows, device)


def record_here(directory: StudyDirectory, mixtures: Sequence[Mixture]) -> None:
    """Make mixtures in this process, one after another, and write down that they are complete."""
    import torch

    from study.storage.images import images_of

    images = images_of(directory)
    for mixture in mixtures:
        record(directory, mixture, *images, "cuda" if torch.cuda.is_available() else "cpu")
        directory.write_result(mixture.name, "complete")
        directory.send_from(mixture.name)


class _Mixer:
    """A Ray actor that holds the images and makes one mixture after another."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.images: tuple[ImageStore, pd.DataFrame] | None = None

    def record(self, mixture: Mixture) -> None:
        import ray
        import torch

        from study.storage.images import images_of

        assigned = ray.get_runtime_context().get_assigned_resources()
        torch.set_num_threads(max(1, int(assigned.get("CPU", 1))))
        directory = open_directory(self.address)
        directory.fetch_for(mixture.name)
        self.images = self.images or images_of(directory)
        record(directory, mixture, *self.images, "cuda" if assigned.get("GPU", 0) > 0 else "cpu")
        directory.send_from(mixture.name)


def _note(directory: StudyDirectory, mixture: Mixture, task: Any, console: Console) -> None:
    """Write down how a mixture ended, and say so."""
    import ray

    try:
        ray.get(task)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        directory.write_result(mixture.name, "failed", reason)
        console.print(f"{mixture.name}: failed: {reason}", highlight=False)
        return
    directory.fetch_trial(mixture.name)
    directory.write_result(mixture.name, "complete")
    trial = next(trial for trial in summarise(directory) if trial.trial == mixture.name)
    console.print(f"{mixture.name}: {values_text(directory.read_study_file().objectives, trial)}", highlight=False)


def values_text(objectives: Sequence[str], trial: TrialSummary | TrialPoint) -> str:
    """A model's objectives on validation, in words."""
    return ", ".join(f"{name} {trial.validation[name]:.3g}" for name in objectives)
