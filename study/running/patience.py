"""Trials that make no progress: said once, and ended after `trial_timeout` seconds without an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from study.running.standstill import is_far_above
from study.running.unpickled import Unpickled
from study.running.words import clock


class Patience(Unpickled, Callback):
    """Hears of every trial from Ray Tune. What it ends, Tune starts again or counts as failed, as it does other losses.

    limit: seconds, or None for no end. said: Ray trial -> why it failed, for the searcher. say: tells the user.
    """

    def __init__(
        self,
        limit: float | None,
        said: dict[str, str],
        say: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self.said = said
        self.say = say
        self.now = now
        self.since: dict[str, float] = {}
        """Ray trial -> when its process began, or its last epoch was over."""
        self.longest = 0.0
        self.doubted: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.since[trial.trial_id] = self.now()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.longest = max(self.longest, self._waited(trial))
        self.since[trial.trial_id] = self.now()
        self.doubted.discard(trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.since.pop(trial.trial_id, None)

    on_trial_complete = on_trial_error = on_trial_recover

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        for trial in trials:
            waited = self._waited(trial)
            if self.limit is not None and waited > self.limit:
                self._end(trial)
            elif is_far_above(waited, self.longest) and trial.trial_id not in self.doubted:
                self._doubt(trial, waited)

    def _waited(self, trial: Any) -> float:
        return self.now() - self.since.get(trial.trial_id, self.now())

    def _end(self, trial: Any) -> None:
        import ray

        del self.since[trial.trial_id]  # until it starts again
        reason = f"it finished no epoch within trial_timeout, {self.limit:g} s, and its process was ended"
        self.said[trial.trial_id] = reason
        self.say(f"{trial.config['trial']}: {reason}")
        ray.kill(trial.temporary_state.ray_actor)

    def _doubt(self, trial: Any, waited: float) -> None:
        self.doubted.add(trial.trial_id)
        self.say(
            f"{trial.config['trial']} has finished no epoch for {clock(waited)}, where the longest took "
            f"{clock(self.longest)}; if it hangs: `trial_timeout: SECONDS` in study.yaml ends and restarts such trials"
        )
