"""What a study's folder says about its trials: the driver, `status`, `front`, tracking and export all read this."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from search_spaces.schema import STAGE_PARAMETERS, StudyFile
from study.storage.directory import StudyDirectory
from study.storage.reading import read_object_if_any, read_rows
from trainables.config import BASELINE, Mixture, TrialConfig, in_order, trial_config_from_dict
from trainables.objectives import measure
from trainables.record import SCORES, read_scores

ENDED = ("complete", "pruned", "failed")
PASSES_BEFORE = {False: 2, True: 5}
"""Of an epoch that does not say: without a penalty, and with NT's, which was the only one."""
STATES = (*ENDED, "running", "waiting")


@dataclass(frozen=True, kw_only=True)
class TrialSummary:
    """One trial as its folder tells it. Metrics are computed from its score table, never read from elsewhere."""

    trial: str
    state: str
    lam: float
    step_size: float
    training: dict[str, float] = field(default_factory=dict)
    """What else was searched: a defence's budget `eps`, training hyperparameters."""
    defence: str = "nt"
    """What it was trained with, where λ is not 0: a name of `trainables.defences`."""
    passes: int = 0
    """Passes of the network over the training views that its own training took so far (`Defence.passes`)."""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    planned_epochs: int = 0
    validation: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    """Why it is not complete, where it has ended."""
    problems: tuple[str, ...] = ()
    """Its files that could not be read, or not to their end, each in a sentence."""
    parents: tuple[str, ...] = ()
    """Of a mixture: the two trials whose weights it lies between; nothing for a trained trial."""
    weight: float | None = None
    """Of a mixture: the second parent's share."""

    @property
    def is_mixture(self) -> bool:
        """Whether it was mixed of two trained trials and not trained itself."""
        return bool(self.parents)

    @property
    def is_baseline(self) -> bool:
        return self.trial == BASELINE

    @property
    def seconds(self) -> float:
        """Training time so far."""
        return float(sum(row["train_seconds"] for row in self.epochs))


def summarise(directory: StudyDirectory) -> list[TrialSummary]:
    """Every trial that has been started, the baseline first, then in the order they were asked for; then mixtures.

    A file that cannot be read costs what it would have said, is named in its trial's `problems`, and hides no other.
    """
    return list(each_trial(directory))


def each_trial(directory: StudyDirectory) -> Iterator[TrialSummary]:
    """The same, each read when it is asked for."""
    alive = directory.owner() is not None
    searched = searched_parameters(directory.read_study_file())
    for folder in sorted(trial_folders(directory), key=lambda folder: in_order(folder.name)):
        yield summarise_trial(folder, searched, alive)


def trial_folders(directory: StudyDirectory) -> list[Path]:
    """The folders of trials that have begun: one that fails in its set-up leaves its end and no configuration."""
    return [
        path
        for path in directory.trials.glob("*")
        if any((path / name).exists() for name in ("config.json", "result.json", SCORES))
    ]


def count_states(directory: StudyDirectory, trials: list[TrialSummary]) -> dict[str, int]:
    """Trained trials by state; `waiting` are those asked for that have not been started, or were interrupted."""
    trained = [trial for trial in trials if not trial.is_mixture]
    counts = Counter(trial.state for trial in trained)
    asked = directory.read_study_file().trials + 1
    counts["waiting"] += max(0, asked - len(trained))
    return {state: counts[state] for state in STATES}


def overhead_of(folder: Path) -> float | None:
    """Seconds that an ended trial took beside its epochs, as for its record; None where its folder does not say."""
    finished = read_object_if_any(folder / "result.json").get("finished")
    starts = read_rows(folder / "starts.jsonl", None)
    if not isinstance(finished, int | float) or len(starts) != 1 or not isinstance(starts[0].get("time"), int | float):
        return None
    epochs = sum(map(epoch_seconds, read_epochs(folder)))
    return max(0.0, float(finished) - float(starts[0]["time"]) - epochs)


def idle_of(folder: Path) -> float:
    """Seconds since a trial's last epoch, or its start before there is one; 0 where neither is known."""
    for name in ("epochs.jsonl", "starts.jsonl"):
        with contextlib.suppress(OSError):
            return max(0.0, time.time() - (folder / name).stat().st_mtime)
    return 0.0


def epoch_seconds(row: Mapping[str, Any]) -> float:
    """What an epoch took: training, and probing, of which older rows and rows that were changed say nothing."""
    probe = row.get("probe_seconds", 0.0)
    return float(row["train_seconds"]) + (float(probe) if isinstance(probe, int | float) else 0.0)


def launched_at(directory: StudyDirectory) -> str:
    """When the study was launched, as in 2026-03-01T14:05:00+00:00; empty if unknown.

    Studies of before this was written down are told by their file's time, which a copy has anew.
    """
    if isinstance(said := read_object_if_any(directory.path / "environment.json").get("launched"), str):
        return said
    try:
        seconds = (directory.path / "launched.yaml").stat().st_mtime
    except OSError:
        return ""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def searched_parameters(study_file: StudyFile) -> list[str]:
    """What the study searches beside lam and step_size: a defence's budget, training hyperparameters."""
    return [name for name in study_file.space if name not in ("lam", "step_size")]


def summarise_trial(folder: Path, searched: list[str], alive: bool) -> TrialSummary:
    """The trial of one folder; `alive` says whether somebody runs the study, so that an open trial is running."""
    problems: list[str] = []
    mixture = Mixture.named(folder.name)
    config = config_if_any(folder / "config.json", problems)
    epochs = read_epochs(folder, problems)
    state, reason = _state(folder, alive, problems)
    metrics: dict[str, dict[str, float]] = {"validation": {}, "test": {}}
    if state == "complete":
        try:
            metrics = _metrics(folder / SCORES, None if config is None else frozenset(config.attacks))
        except (ValueError, OSError) as error:
            state, reason = "failed", f"its record cannot be read: {error}"
            problems.append(str(error))
    return TrialSummary(
        trial=folder.name,  # and not what its configuration says, which another hand may have written
        state=state,
        lam=math.nan if config is None else config.lam,
        step_size=step_size_of(config),
        training={} if config is None or mixture else _searched_values(config, searched),
        defence="nt" if config is None else config.recipe.defence,
        passes=0 if config is None else _passes(config, epochs),
        epochs=epochs,
        planned_epochs=0 if config is None else config.epochs,
        validation=metrics["validation"],
        test=metrics["test"],
        reason=reason,
        problems=tuple(problems),
        parents=mixture.parents if mixture else (),
        weight=mixture.weight if mixture else None,
    )


def step_size_of(config: TrialConfig | None) -> float:
    """h; NaN where it is not known, and where the trial's defence has none."""
    if config is None or (config.recipe.defence != "nt" and not config.is_baseline):
        return math.nan
    return config.step_size


def _passes(config: TrialConfig, epochs: list[dict[str, Any]]) -> int:
    before = PASSES_BEFORE[config.lam > 0]
    return round(sum(float(row.get("passes", before)) for row in epochs))


def _searched_values(config: TrialConfig, searched: list[str]) -> dict[str, float]:
    own = config.recipe.defence_params
    return {
        name: getattr(config.stages[-1], name) if name in STAGE_PARAMETERS else own[name]
        for name in searched
        if name in STAGE_PARAMETERS or name in own  # the baseline has no budget
    }


def config_if_any(path: Path, problems: list[str]) -> TrialConfig | None:
    """What the trial was run with; None where that cannot be read."""
    values = read_object_if_any(path, problems)
    if not values:
        return None
    try:
        config = trial_config_from_dict(values)
        if not all(isinstance(value, int | float) for value in (config.lam, config.step_size, config.epochs)):
            raise TypeError("lam, step_size or epochs is no number")
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        problems.append(f"{path} is no configuration of a trial: {error}")
        return None
    return config


def _state(folder: Path, alive: bool, problems: list[str]) -> tuple[str, str]:
    result = read_object_if_any(folder / "result.json", problems)
    if result.get("state") in ENDED:
        return str(result["state"]), str(result.get("reason") or "")
    if result:
        problems.append(f"{folder / 'result.json'} names no state that a trial ends in: {result.get('state')!r}")
    if (folder / SCORES).exists():
        return "complete", ""
    return ("running" if alive else "waiting"), ""


def read_epochs(folder: Path, problems: list[str] | None = None) -> list[dict[str, Any]]:
    """The rows of `epochs.jsonl`, up to the first that is damaged; empty before the first epoch is over."""
    return read_rows(folder / "epochs.jsonl", problems)


def _metrics(path: Path, attacks: frozenset[str] | None) -> dict[str, dict[str, float]]:
    try:
        modified = path.stat().st_mtime_ns
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    return _metrics_of_version(path, attacks, modified)


@lru_cache(maxsize=4096)
def _metrics_of_version(path: Path, attacks: frozenset[str] | None, _modified: int) -> dict[str, dict[str, float]]:
    scores = read_scores(path)
    try:
        measured = {split: measure(scores, split, worst_of=attacks) for split in ("validation", "test")}
        # One name for all trials: kept for thousands of them, the names would take more than the numbers.
        return {split: {sys.intern(name): value for name, value in found.items()} for split, found in measured.items()}
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
