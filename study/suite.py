"""The full attack suite over a study's trials, as Ray tasks; and what the audit makes of the result."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from study.directory import StudyDirectory, open_directory
from study.front import front_of
from study.summaries import TrialSummary, summarise
from trainables.config import BASELINE, TrialConfig, trial_config_from_dict

if TYPE_CHECKING:
    from trainables.audit import Flag

log = logging.getLogger(__name__)

Extent = Literal["front", "all"]


def run_suite(directory: StudyDirectory, trials: Sequence[str], console: Console) -> None:
    """Run the study file's `suite` on `trials` and add it to their records. Ray must have been started."""
    import ray

    from study.ray_session import resources_of_trials

    if not trials:
        return
    wanted = resources_of_trials(directory.read_study_file())
    task = ray.remote(num_cpus=wanted.cpu, num_gpus=wanted.gpu, max_retries=1)(_attack)
    # The first one makes what all share (surrogates, adversaries); the others then only map it.
    first, *others = trials
    pending = {task.remote(directory.address, first): first}
    while pending:
        (done,), _ = ray.wait(list(pending))
        trial = pending.pop(done)
        directory.fetch_trial(trial)
        console.print(f"{trial}: attacked with {', '.join(ray.get(done))}", highlight=False)
        if trial == first:
            pending |= {task.remote(directory.address, other): other for other in others}


def trials_to_attack(directory: StudyDirectory, extent: Extent) -> list[str]:
    """The baseline, then the front's members or every complete trial, as far as their tables lack some of the suite."""
    trials = summarise(directory)
    names = [trial.trial for trial in trials if trial.state == "complete"]
    if extent == "front":
        members = {member.trial for member in front_of(directory, trials).members}
        names = [name for name in names if name in members or name == BASELINE]
    suite = directory.read_study_file().suite
    return [name for name in names if not set(suite) <= set(attacks_of(directory.trial(name)))]


def attacks_of(folder: Path) -> list[str]:
    """Labels of the attacks in a trial's score table."""
    from trainables.record import SCORES, read_scores

    return [str(label) for label in read_scores(folder / SCORES)["attack"].unique()]


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


def _attack(address: str, trial: str) -> list[str]:
    import torch

    from trainables.data import open_dataset
    from trainables.files import default_cache_dir
    from trainables.suite import attack_trial, load_trial_model, prepare_suite

    torch.set_num_threads(1)
    directory = open_directory(address)
    for name in (BASELINE, trial):
        directory.fetch_for(name)
    study_file = directory.read_study_file()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, rows = (
        open_dataset(study_file.data, skip_unreadable=study_file.skip_unreadable).store,
        directory.read_split(),
    )
    folder, base = directory.trial(trial), directory.trial(BASELINE)
    done = attacks_of(folder)
    attacks = prepare_suite(
        {label: entry for label, entry in study_file.suite.items() if label not in done},
        images,
        rows,
        load_trial_model(read_config(base), base).to(device),
        size=study_file.size,
        cache_dir=default_cache_dir(),
        device=device,
    )
    labels = attack_trial(read_config(folder), folder, images, rows, attacks, device)
    directory.send_from(trial)
    return labels
