"""What a study's folder says about its trials: the driver, `status`, `front`, tracking and export all read this."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from search_spaces.schema import STAGE_PARAMETERS, StudyFile
from study.storage.directory import StudyDirectory
from trainables.config import BASELINE, in_order, trial_config_from_dict
from trainables.objectives import measure
from trainables.record import SCORES, read_scores

STATES = ("complete", "pruned", "failed", "running", "waiting")


@dataclass(frozen=True, kw_only=True)
class TrialSummary:
    """One trial as its folder tells it. Metrics are computed from its score table, never read from elsewhere."""

    trial: str
    state: str
    lam: float
    step_size: float
    training: dict[str, float] = field(default_factory=dict)
    """Searched training hyperparameters, when the space names any beside lam and step_size."""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    planned_epochs: int = 0
    validation: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def is_baseline(self) -> bool:
        return self.trial == BASELINE

    @property
    def seconds(self) -> float:
        """Training time so far."""
        return float(sum(row["train_seconds"] for row in self.epochs))


def summarise(directory: StudyDirectory) -> list[TrialSummary]:
    """Every trial that has been started, the baseline first, then in the order they were asked for."""
    alive = directory.owner() is not None
    searched = searched_parameters(directory.read_study_file())
    folders = [path for path in directory.trials.glob("*") if (path / "config.json").exists()]
    trials = [summarise_trial(folder, searched, alive) for folder in folders]
    return sorted(trials, key=lambda trial: in_order(trial.trial))


def count_states(directory: StudyDirectory, trials: list[TrialSummary]) -> dict[str, int]:
    """Trials by state; `waiting` are those asked for that have not been started, or were interrupted."""
    counts = Counter(trial.state for trial in trials)
    asked = directory.read_study_file().trials + 1
    counts["waiting"] += asked - len(trials)
    return {state: counts[state] for state in STATES}


def seconds_left(trials: list[TrialSummary], asked: int) -> float | None:
    """Estimate for `asked` NT trials: epochs not yet run at the pace of those that were; None before there is a pace.

    As many run at a time as run now; early stopping may end it sooner.
    """
    nt_trials = [trial for trial in trials if not trial.is_baseline]
    paces = [row["train_seconds"] for trial in nt_trials for row in trial.epochs]
    running = [trial for trial in nt_trials if trial.state == "running"]
    if not paces or not running:
        return None
    epochs = sum(trial.planned_epochs - len(trial.epochs) for trial in running)
    epochs += running[0].planned_epochs * max(0, asked - len(nt_trials))
    return epochs * sum(paces) / len(paces) / len(running)


def searched_parameters(study_file: StudyFile) -> list[str]:
    """Training hyperparameters that the study searches beside lam and step_size."""
    return [name for name in study_file.space if name in STAGE_PARAMETERS]


def summarise_trial(folder: Path, searched: list[str], alive: bool) -> TrialSummary:
    """The trial of one folder; `alive` says whether somebody runs the study, so that an open trial is running."""
    config = trial_config_from_dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    state, reason = _state(folder, alive)
    metrics: dict[str, dict[str, float]] = {"validation": {}, "test": {}}
    if state == "complete":
        metrics = _metrics(folder / SCORES, frozenset(config.attacks))
    return TrialSummary(
        trial=config.trial,
        state=state,
        lam=config.lam,
        step_size=config.step_size,
        training={name: getattr(config.stages[-1], name) for name in searched},
        epochs=read_epochs(folder),
        planned_epochs=config.epochs,
        validation=metrics["validation"],
        test=metrics["test"],
        reason=reason,
    )


def _state(folder: Path, alive: bool) -> tuple[str, str]:
    if (folder / "result.json").exists():
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        return result["state"], result["reason"]
    if (folder / SCORES).exists():
        return "complete", ""
    return ("running" if alive else "waiting"), ""


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """The rows of `epochs.jsonl`; empty before the first epoch is over."""
    try:
        lines = (folder / "epochs.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def _metrics(path: Path, attacks: frozenset[str]) -> dict[str, dict[str, float]]:
    return _metrics_of_version(path, attacks, path.stat().st_mtime_ns)


@lru_cache(maxsize=4096)
def _metrics_of_version(path: Path, attacks: frozenset[str], _modified: int) -> dict[str, dict[str, float]]:
    scores = read_scores(path)
    return {split: measure(scores, split, worst_of=attacks) for split in ("validation", "test")}
