"""The full attack suite over a study's trials, as Ray tasks; and what the audit makes of the result."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from study.directory import StudyDirectory
from study.front import front_of
from study.summaries import TrialSummary, summarise
from trainables.config import BASELINE, TrialConfig, trial_config_from_dict

if TYPE_CHECKING:
    from trainables.audit import Flag

log = logging.getLogger(__name__)

Extent = Literal["front", "all"]


def run_suite(directory: StudyDirectory, extent: Extent, console: Console) -> None:
    """Run the study file's `suite` on the front's members and the baseline, or on all complete trials.

    Trials whose tables already have an attack are not attacked again. Ray must have been started.
    """
    import ray

    from study.tuner import resources_of_trials

    wanted = resources_of_trials(directory.read_study_file())
    task = ray.remote(num_cpus=wanted.cpu, num_gpus=wanted.gpu, max_retries=1)(_attack)
    trials = trials_to_attack(directory, extent)
    # The first one makes what all share (surrogates, adversaries); the others then only map it.
    first, *others = trials
    pending = {task.remote(directory.path.resolve(), first): first}
    while pending:
        (done,), _ = ray.wait(list(pending))
        trial = pending.pop(done)
        console.print(f"{trial}: attacked with {', '.join(ray.get(done)) or 'nothing new'}", highlight=False)
        if trial == first:
            pending |= {task.remote(directory.path.resolve(), other): other for other in others}


def trials_to_attack(directory: StudyDirectory, extent: Extent) -> list[str]:
    """The baseline first, then the front's members or every complete trial."""
    trials = summarise(directory)
    names = [trial.trial for trial in trials if trial.state == "complete"]
    if extent == "front":
        members = {member.trial for member in front_of(directory, trials).members}
        names = [name for name in names if name in members or name == BASELINE]
    return names


def audit_study(directory: StudyDirectory, trials: list[TrialSummary]) -> dict[str, list[Flag]]:
    """Trial -> reasons to doubt its robustness on validation, for trials that have any."""
    from trainables.audit import audit
    from trainables.record import SCORES, read_scores

    study_file = directory.read_study_file()
    names = {label: str(entry["name"]) for label, entry in (study_file.attacks | study_file.suite).items()}
    found = {
        trial.trial: audit(read_scores(directory.trial(trial.trial) / SCORES), "validation", names=names)
        for trial in trials
        if trial.state == "complete"
    }
    return {trial: flags for trial, flags in found.items() if flags}


def read_config(folder: Path) -> TrialConfig:
    """The configuration that a trial's folder was run with."""
    return trial_config_from_dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def _attack(path: Path, trial: str) -> list[str]:
    import torch

    from trainables.data import open_dataset
    from trainables.data.cache import default_cache_dir
    from trainables.suite import attack_trial, load_trial_model, prepare_suite

    torch.set_num_threads(1)
    directory = StudyDirectory(path)
    study_file = directory.read_study_file()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, rows = (
        open_dataset(study_file.data, skip_unreadable=study_file.skip_unreadable).store,
        directory.read_split(),
    )
    base = directory.trial(BASELINE)
    attacks = prepare_suite(
        study_file.suite,
        images,
        rows,
        load_trial_model(read_config(base), base).to(device),
        size=study_file.size,
        cache_dir=default_cache_dir(),
        device=device,
    )
    folder = directory.trial(trial)
    return attack_trial(read_config(folder), folder, images, rows, attacks, device)
