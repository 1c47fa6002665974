"""How long a study still takes, from the epochs that have been timed."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from study.running.costs import NT_COST

RECORD_COST = 1.5
"""Attacking and scoring a model in epochs of the baseline (1.2 to 1.6 in the demo). Counts until one is timed."""
GUESSED, UNSURE, SURER = 0.5, 0.33, 0.1
"""Share of the estimate by which it may be off: before a trial's epoch is timed, after the first, at the least."""


@dataclass
class Timed:
    """A trial as far as time is concerned."""

    epoch: int
    planned_epochs: int
    is_baseline: bool = False
    has_ended: bool = False
    epoch_seconds: list[float] = field(default_factory=list)
    """Of training and probing alone."""
    record_seconds: float | None = None
    """What attacking and scoring an ended trial took."""
    start_seconds: float | None = None
    """What its first step took beside that: a process imports, opens the images and builds the model."""
    idle: float = 0.0
    """Seconds since it was last heard of: so much of its next step is done."""

    def note(self, step: float, epoch: float, record: float | None) -> None:
        """Add a step of the trial that took so many seconds, and what of them its epoch and its record took."""
        if not self.epoch_seconds:
            self.start_seconds = max(0.0, step - epoch - (record or 0.0))
        self.epoch_seconds.append(epoch)
        self.record_seconds = record


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study will do, as far as time is concerned."""

    asked: int
    """Trials beside the baseline, in all."""
    epochs: int
    """Of each of them."""
    mixtures: int = 0
    """Still to be made, at most."""
    at_a_time: int = 1
    baseline_first: bool = True
    """Whether trials begin where the baseline ended."""
    epoch_cost: float = NT_COST
    """An epoch of a trial in epochs of the baseline; counts until one is timed."""
    attacked: int = 0
    """Models that the full suite will still run on."""
    suite_cost: float = 0.0
    """The suite on one model, in records."""


def time_left(trials: Sequence[Timed], plan: Plan) -> tuple[float, float] | None:
    """Seconds that are left, and by how many that may be off; None before any epoch is timed.

    trials: those that have begun. Early stopping may end it sooner.
    """
    own = [trial for trial in trials if not trial.is_baseline]
    baseline = next((trial for trial in trials if trial.is_baseline), None)
    timed = _warm(own, plan.at_a_time)
    plain = baseline.epoch_seconds if baseline else []
    cold = [seconds for trial in own for seconds in trial.epoch_seconds]
    if not cold and not plain:
        return None
    plain_pace = statistics.median(plain) if plain else min(timed or cold) / plan.epoch_cost
    pace = statistics.median(timed) if timed else min([plan.epoch_cost * plain_pace, *cold])
    records = [trial.record_seconds for trial in trials if trial.record_seconds is not None]
    record = statistics.mean(records) if records else RECORD_COST * plain_pace
    jobs = [_rest(trial, pace, record) for trial in own if not trial.has_ended]
    jobs += [plan.epochs * pace + record] * max(0, plan.asked - len(own))
    rest = 0.0
    if baseline is not None and not baseline.has_ended:
        rest = _rest(baseline, plain_pace, record)
    seconds = rest + _span(jobs, plan.at_a_time) if plan.baseline_first else _span([rest, *jobs], plan.at_a_time)
    starts = [trial.start_seconds for trial in trials if trial.start_seconds is not None]
    for models, cost in ((plan.mixtures, 1.0), (plan.attacked, plan.suite_cost)):
        if models:  # in processes of their own
            seconds += max(starts, default=0.0) + -(-models // plan.at_a_time) * cost * record
    return seconds, seconds * _doubt(timed)


def _warm(trials: Sequence[Timed], at_a_time: int) -> list[float]:
    """Seconds of the trials' epochs without the first of each process, which takes up to three times as long."""
    return [seconds for number, trial in enumerate(trials) for seconds in trial.epoch_seconds[number < at_a_time :]]


def _rest(trial: Timed, pace: float, record: float) -> float:
    """Seconds that a trial which has begun still takes; a step that takes longer than others is just over."""
    epochs = trial.planned_epochs - trial.epoch
    step = pace + (record if epochs <= 1 else 0.0)
    return max(0.0, epochs * pace + record - min(trial.idle, step))


def _span(jobs: Sequence[float], at_a_time: int) -> float:
    """Seconds until all jobs are done, each begun when one before it has ended."""
    free = [0.0] * max(1, at_a_time)
    for seconds in jobs:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


def _doubt(timed: Sequence[float]) -> float:
    if len(timed) < 2:
        return UNSURE if timed else GUESSED
    return max(SURER, min(UNSURE, statistics.stdev(timed) / statistics.mean(timed)))
