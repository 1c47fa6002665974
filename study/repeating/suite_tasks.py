"""The full attack suite over a study's trials, as Ray tasks; and what the audit makes of the result."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from study.errors import StudyError
from study.looking.front_files import front_of
from study.running.standstill import Standstill
from study.running.waiting import waiting
from study.storage.directory import StudyDirectory, open_directory
from study.storage.images import images_of
from study.storage.reading import read_object
from study.storage.summaries import TrialSummary, config_if_any, summarise
from trainables.config import BASELINE, TrialConfig, trial_config_from_dict

if TYPE_CHECKING:
    import pandas as pd

    from trainables.attacks import Suite
    from trainables.attacks.base import Attack
    from trainables.audit import Flag
    from trainables.data.store import ImageStore
    from trainables.views import Images

log = logging.getLogger(__name__)

STOP_SECONDS = 1.0
"""How long a request to stop may go unheard."""
Extent = Literal["reported", "front", "all"]


def run_suite(
    directory: StudyDirectory,
    trials: Sequence[str],
    console: Console,
    stop: Callable[[], bool],
    names: Mapping[str, str] | None = None,
) -> None:
    """Run the study file's `suite` on `trials` and add it to their records, until `stop`. Ray must be running.

    names: trial -> what its progress calls it, where that is not its name.

    StudyError, once all are through, that names what could not be attacked and why.
    """
    import ray

    from study.cluster.resources import resources_of_trials

    if not trials:
        return
    wanted = resources_of_trials(directory.read_study_file())
    task = ray.remote(num_cpus=wanted.cpu, num_gpus=wanted.gpu, resources=wanted.custom, max_retries=1)
    # Handed what this returns, the attacks wait for it: all of them are made with the same surrogates.
    suite = task(_prepare).remote(directory.address)
    attack = task(_attack)
    failed: dict[str, str] = {}
    pending = {attack.remote(directory.address, trial, suite): trial for trial in trials}
    total = len(pending)
    standstill = Standstill(console.print, f"Ctrl-C, and {directory.command('suite')}")
    with waiting(console, f"attacking {total} models with {', '.join(directory.read_study_file().suite)}") as say:
        while pending and not stop():
            done, _ = ray.wait(list(pending), timeout=STOP_SECONDS)
            standstill.look(len(done))
            for one in done:
                trial = pending.pop(one)
                try:
                    labels = ray.get(one)
                except ray.exceptions.RayError as error:
                    failed[trial] = str(error).strip().splitlines()[-1]
                    continue
                directory.fetch_trial(trial)
                console.print(f"{(names or {}).get(trial, trial)}: attacked with {', '.join(labels)}", highlight=False)
                say(f"attacking models: {total - len(pending)} of {total} done")
    for one in pending:
        ray.cancel(one, force=True)
    if failed:
        trial, reason = next(iter(failed.items()))
        raise StudyError(
            f"{len(failed)} of the trials could not be attacked with the full suite, such as {trial}: {reason}; the "
            f"others were; once the cause is removed, go on with: {directory.command('suite')}"
        )


def trials_to_attack(directory: StudyDirectory, extent: Extent) -> list[str]:
    """The baseline and the trials of `extent`, as far as their tables lack some of the suite.

    "reported": what a report compares with the baseline, and the paper's λ and h; "front": the front's members.
    """
    trials = summarise(directory)
    names = [trial.trial for trial in trials if trial.state == "complete"]
    if not names:
        return []
    if extent != "all":
        front = front_of(directory, trials)
        points = front.members if extent == "front" else [point for point in front.points if point.is_paper_setting]
        members = {BASELINE, *(point.trial for point in points)}
        if extent == "reported" and front.reported is not None:
            members.add(front.reported.trial)
        names = [name for name in names if name in members]
    return not_yet_attacked(directory, names)


def not_yet_attacked(directory: StudyDirectory, trials: Sequence[str]) -> list[str]:
    """Those of `trials` whose tables lack some of the suite."""
    suite = set(directory.read_study_file().suite)
    return [name for name in trials if not suite <= set(attacks_of(directory.trial(name)))]


def attacks_of(folder: Path) -> list[str]:
    """Labels of the attacks in a trial's score table."""
    from trainables.record import SCORES, read_scores

    return [str(label) for label in read_scores(folder / SCORES)["attack"].unique()]


def audit_study(directory: StudyDirectory, trials: list[TrialSummary]) -> dict[str, list[Flag]]:
    """Trial -> reasons to doubt its robustness on validation, for every finished trial that can be judged.

    Those are the trials attacked with all of the suite; what the study's own attacks give away is said of the others.
    """
    from trainables.audit import audit
    from trainables.record import SCORES, read_scores

    study_file = directory.read_study_file()
    names = {label: str(entry["name"]) for label, entry in (study_file.attacks | study_file.suite).items()}
    found = {
        trial.trial: audit(
            read_scores(directory.trial(trial.trial) / SCORES),
            "validation",
            names=names,
            trained_on_one_step=_trained_on_one_step(directory.trial(trial.trial)),
        )
        for trial in trials
        if trial.state == "complete"
    }
    lacking = not_yet_attacked(directory, list(found))
    return {trial: flags for trial, flags in found.items() if flags or trial not in lacking}


def _trained_on_one_step(folder: Path) -> bool:
    """Whether a trial's adversarial images were of one step; False where its configuration cannot be read."""
    from trainables.defences import trains_on_one_step

    config = config_if_any(folder / "config.json", [])
    with contextlib.suppress(TypeError, ValueError, AttributeError):  # of a defence that another hand has written
        return config is not None and trains_on_one_step(config)
    return False


def read_trial_config(folder: Path) -> TrialConfig:
    """The configuration that a trial's folder was run with."""
    return trial_config_from_dict(read_object(folder / "config.json"))


def make_adversaries(directory: StudyDirectory) -> list[str]:
    """Make the surrogates and black-box images that the suite needs and the cache lacks; returns their labels."""
    from trainables.attacks import SURROGATES

    suite = _resolved_suite(directory, "cpu")
    black_box = {label: entry for label, entry in suite.items() if entry["name"] in SURROGATES}
    _ready_attacks(directory, black_box, *images_of(directory), "cpu")
    return list(black_box)


def _prepare(address: str) -> Suite:
    directory = open_directory(address)
    directory.fetch_for(BASELINE)
    return _resolved_suite(directory, device_here())


def _resolved_suite(directory: StudyDirectory, device: str) -> Suite:
    """The study's suite with a place for every surrogate and perturbation: a `Path` in the study, or a string.

    What had to be trained is kept in the study, for machines that train for themselves would attack with other images.
    """
    from trainables.files import default_cache_dir
    from trainables.suite import resolve_suite

    study_file = directory.read_study_file()
    cache = default_cache_dir()
    directory.fetch_black_box()
    suite = resolve_suite(study_file.suite, *images_of(directory), size=study_file.size, cache_dir=cache, device=device)

    def kept(value: Any) -> Any:
        if isinstance(value, Path):
            return directory.keep_black_box(value, cache) if value.is_relative_to(cache) else str(value)
        return value

    found = {label: {key: kept(value) for key, value in entry.items()} for label, entry in suite.items()}
    directory.send_black_box()
    return found


def _attack(address: str, trial: str, suite: Suite) -> list[str]:
    from trainables.record import WEIGHTS
    from trainables.suite import attack_trial

    directory = open_directory(address)
    directory.fetch_for(trial)
    for name in ("config.json", WEIGHTS):
        directory.fetch_file(BASELINE, name)
    directory.fetch_black_box()
    folder, device = directory.trial(trial), device_here()
    done = attacks_of(folder)
    lacking = {label: entry for label, entry in suite.items() if label not in done}
    images, rows = images_of(directory)
    attacks = _ready_attacks(directory, lacking, images, rows, device)
    labels = attack_trial(read_trial_config(folder), folder, images, rows, attacks, device)
    directory.send_from(trial)
    if trial != BASELINE:  # which the attacks beside this one make `transfer` on
        directory.leave(trial)
    return labels


def _ready_attacks(
    directory: StudyDirectory, suite: Suite, images: ImageStore, rows: pd.DataFrame, device: str
) -> dict[str, Attack | Images]:
    from trainables.files import default_cache_dir
    from trainables.suite import load_trial_model, prepare_suite

    base = directory.trial(BASELINE)
    here = {
        label: {key: directory.path / value if isinstance(value, Path) else value for key, value in entry.items()}
        for label, entry in suite.items()
    }
    return prepare_suite(
        here,
        images,
        rows,
        load_trial_model(read_trial_config(base), base).to(device),
        size=directory.read_study_file().size,
        cache_dir=default_cache_dir(),
        device=device,
    )


def device_here() -> str:
    """Where a task computes: on the GPU that it was given, not on one that others hold."""
    import ray
    import torch

    assigned = ray.get_runtime_context().get_assigned_resources()
    torch.set_num_threads(max(1, int(assigned.get("CPU", 1))))
    return "cuda" if assigned.get("GPU", 0) > 0 else "cpu"
