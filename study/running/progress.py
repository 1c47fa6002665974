"""What the terminal shows while a study runs: a live screen, and plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune import Callback
from rich.console import Console, Group
from rich.live import Live

from search_spaces.schema import StudyFile
from study.running.actor import FAILED, RECORD_SECONDS
from study.running.eta import Timed
from study.running.screen import Row, cells, left, row_of, screen, seconds_left
from study.running.unpickled import Unpickled
from study.running.words import clock
from study.storage.summaries import TrialSummary, epoch_seconds, step_size_of
from trainables.config import BASELINE


class Progress(Unpickled, Callback):
    """Hears of every trial from Ray Tune; shows a live screen on a terminal, and plain lines elsewhere.

    `changed` is called whenever a trial started, reported or ended. at_a_time: how many trials run at once. names:
    trial -> what it is called here, where that is another name.
    """

    def __init__(
        self,
        study_file: StudyFile,
        trials: list[TrialSummary],
        console: Console,
        changed: Callable[[], None] = lambda: None,
        names: Mapping[str, str] | None = None,
        at_a_time: int = 1,
    ) -> None:
        self.names = names or {}
        self.study_file = study_file
        self.console = console
        self.changed = changed
        self.at_a_time = at_a_time
        self.started = time.monotonic()
        self.heard: dict[str, float] = {}
        self.mixtures_made = sum(trial.is_mixture for trial in trials)
        trained = [trial for trial in trials if not trial.is_mixture]
        self.rows = {trial.trial: row_of(trial) for trial in trained if trial.state not in ("running", "waiting")}
        self.live = Live(
            get_renderable=self.render, console=console, refresh_per_second=2, transient=True, vertical_overflow="crop"
        )

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    # Ray Tune's callbacks -------------------------------------------------------------------------------------

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = trial.config["trial"]
        config = self.study_file.trial_config(name, trial.config["point"])
        self.rows[name] = Row("running", config.lam, step_size_of(config), 0, config.epochs)
        self.rows[name].timed = Timed(0, config.epochs, name == BASELINE)
        self.heard[name] = time.monotonic()
        if name == BASELINE and not self.console.is_terminal:
            self.console.print(f"{name:9} has begun: {config.epochs} epochs at λ 0", highlight=False)
        self.changed()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        row = self.rows[trial.config["trial"]]
        if FAILED in result:
            row.state = "failed"
            return
        row.epoch, row.srocc, row.rmse_attacked = result["epoch"], result["srocc"], result["rmse_attacked"]
        self.heard[trial.config["trial"]] = time.monotonic()
        row.timed.note(result["time_this_iter_s"], epoch_seconds(result), result.get(RECORD_SECONDS))
        self.changed()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self.rows[trial.config["trial"]]
        if row.state == "failed":
            self._end(trial, "failed")
        else:
            self._end(trial, "complete" if row.epoch >= row.planned_epochs else "pruned")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(trial, "failed")

    def _end(self, trial: Any, state: str) -> None:
        name = trial.config["trial"]
        row = self.rows[name]
        row.state = state
        if not self.console.is_terminal:
            self.console.print(self._line(name), highlight=False)
        self.changed()

    # What is shown --------------------------------------------------------------------------------------------

    def render(self) -> Group:
        """The screen as it is now."""
        return screen(self.rows, self.time_line(), self.names)

    def time_line(self) -> str:
        spent = clock(time.monotonic() - self.started)
        if not self.rows:
            return f"the first trial's process is starting, {spent} so far"
        for name, heard in self.heard.items():
            self.rows[name].timed.idle = time.monotonic() - heard
        ended = sum(row.has_ended for row in self.rows.values())
        rest = left(seconds_left(self.rows, self.study_file, self.at_a_time, mixtures_made=self.mixtures_made))
        return f"{ended} of {self.study_file.trials + 1} trials, {spent} so far" + (f", {rest}" if rest else "")

    def _line(self, name: str) -> str:
        row = self.rows[name]
        lam, step_size, epoch, srocc, rmse = cells(row)
        return (
            f"{self.names.get(name, name):9} λ {lam:>8}  h {step_size:>7}  epoch {epoch:>5}  SROCC {srocc:>6}  "
            f"attacked RMSE {rmse:>6}  {row.state:8} ({self.time_line()})"
        )
