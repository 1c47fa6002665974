"""How long a study still takes, from the epochs that have been timed."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

NT_COST = 2.0
"""An NT epoch in epochs of the baseline: the penalty asks for a second pass. Counts until an NT epoch is timed."""
RECORD_COST = 1.5
"""Attacking and scoring a model in epochs of the baseline (1.2 to 1.6 in the demo). Counts until one is timed."""
UNSURE, SURER = 0.33, 0.1
"""Share of the estimate by which it may be off, before an NT epoch is timed, and at least from then on."""


@dataclass
class Timed:
    """A trial as far as time is concerned."""

    epoch: int
    planned_epochs: int
    is_baseline: bool = False
    has_ended: bool = False
    epoch_seconds: list[float] = field(default_factory=list)
    """Of epochs alone."""
    record_seconds: float | None = None
    """What an ended trial took beside its epochs: its set-up, and attacking and scoring it."""

    def settle(self, usual_record: float | None) -> None:
        """Part the last epoch, in which a trial's record is made, from the record. usual_record: another trial's."""
        if not self.epoch_seconds or self.record_seconds is not None:
            return
        *others, last = self.epoch_seconds
        if others:
            self.record_seconds = max(0.0, last - statistics.median(others))
        elif usual_record is not None:
            self.record_seconds = min(usual_record, 0.8 * last)
        self.epoch_seconds = [*others, last - (self.record_seconds or 0.0)]


def time_left(
    trials: Sequence[Timed], *, asked: int, epochs: int, mixtures: int, at_a_time: int, baseline_first: bool
) -> tuple[float, float] | None:
    """Seconds that are left, and by how many that may be off; None before any epoch is timed.

    trials: those that have begun. asked: NT trials in all, of so many `epochs` each. mixtures: still to be made at
    most. baseline_first: whether NT trials begin where the baseline ended. Early stopping may end it sooner.
    """
    nt = [trial for trial in trials if not trial.is_baseline]
    baseline = next((trial for trial in trials if trial.is_baseline), None)
    timed = [seconds for trial in nt for seconds in trial.epoch_seconds]
    plain = baseline.epoch_seconds if baseline else []
    if not timed and not plain:
        return None
    plain_pace = statistics.mean(plain) if plain else statistics.mean(timed) / NT_COST
    pace = statistics.mean(timed) if timed else NT_COST * plain_pace
    records = [trial.record_seconds for trial in trials if trial.record_seconds is not None]
    record = statistics.mean(records) if records else RECORD_COST * plain_pace
    open_ = [trial for trial in nt if not trial.has_ended]
    jobs = [(trial.planned_epochs - trial.epoch) * pace + record for trial in open_]
    jobs += [epochs * pace + record] * max(0, asked - len(nt))
    rest = 0.0
    if baseline is not None and not baseline.has_ended:
        rest = (baseline.planned_epochs - baseline.epoch) * plain_pace + record
    seconds = rest + _span(jobs, at_a_time) if baseline_first else _span([rest, *jobs], at_a_time)
    seconds += -(-mixtures // at_a_time) * record
    return seconds, seconds * _doubt(timed)


def _span(jobs: Sequence[float], at_a_time: int) -> float:
    """Seconds until all jobs are done, each begun when one before it has ended."""
    free = [0.0] * max(1, at_a_time)
    for seconds in jobs:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


def _doubt(timed: Sequence[float]) -> float:
    if len(timed) < 2:
        return UNSURE
    return max(SURER, min(UNSURE, statistics.stdev(timed) / statistics.mean(timed)))
