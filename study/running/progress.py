"""What the terminal shows while a study runs: a live table and an estimate of the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ray.tune import Callback
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from search_spaces.schema import StudyFile
from study.running.actor import FAILED
from study.running.unpickled import Unpickled
from study.running.words import clock
from study.storage.summaries import TrialSummary
from trainables.config import BASELINE, in_order

ROWS_SHOWN = 24


@dataclass
class _Row:
    state: str
    lam: float
    step_size: float
    epoch: int
    planned_epochs: int
    srocc: float | None = None
    rmse_attacked: float | None = None
    epoch_seconds: list[float] = field(default_factory=list)


class Progress(Unpickled, Callback):
    """Hears of every trial from Ray Tune; shows a live table on a terminal, and plain lines elsewhere.

    `changed` is called whenever a trial started, reported or ended.
    """

    def __init__(
        self,
        study_file: StudyFile,
        trials: list[TrialSummary],
        console: Console,
        changed: Callable[[], None] = lambda: None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.names = names or {}
        """Trial -> what it is called here, where that is another name."""
        self.study_file = study_file
        self.console = console
        self.changed = changed
        self.started = time.monotonic()
        self.rows = {trial.trial: _row_of(trial) for trial in trials if trial.state not in ("running", "waiting")}
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
        self.rows[name] = _Row("running", config.lam, config.step_size, 0, config.epochs)
        self.changed()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        row = self.rows[trial.config["trial"]]
        if FAILED in result:
            row.state = "failed"
            return
        row.epoch, row.srocc, row.rmse_attacked = result["epoch"], result["srocc"], result["rmse_attacked"]
        row.epoch_seconds.append(result["time_this_iter_s"])
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
        self.rows[name].state = state
        if not self.console.is_terminal:
            self.console.print(self._line(name), highlight=False)
        self.changed()

    # What is shown --------------------------------------------------------------------------------------------

    def render(self) -> Group:
        """The table as it is now, with a line on the time spent and left."""
        table = Table(box=None, pad_edge=False)
        for title in ("trial", "λ", "h", "epoch", "SROCC", "attacked RMSE", "state"):
            table.add_column(title, justify="left" if title in ("trial", "state") else "right")
        for name, row in self._visible():
            table.add_row(self.names.get(name, name), *self._cells(row), Text(row.state, style=_STYLES[row.state]))
        return Group(table, Text(self.time_line(), style="dim"))

    def time_line(self) -> str:
        ended = sum(row.state not in ("running", "waiting") for row in self.rows.values())
        text = f"{ended} of {self.study_file.trials + 1} trials, {clock(time.monotonic() - self.started)} so far"
        left = self.seconds_left()
        return text if left is None else f"{text}, about {clock(left)} left"

    def seconds_left(self) -> float | None:
        """Epochs still to run, at the pace of the NT trials' epochs so far; None before there is a pace."""
        nt_rows = [row for name, row in self.rows.items() if name != BASELINE]
        seconds = [duration for row in nt_rows for duration in row.epoch_seconds]
        if not seconds:
            return None
        per_trial = self.study_file.trial_config("t000", _any_point(self.study_file)).epochs
        unfinished = [row for row in nt_rows if row.state == "running"]
        epochs = sum(row.planned_epochs - row.epoch for row in unfinished)
        epochs += per_trial * max(0, self.study_file.trials - len(nt_rows))
        return epochs * sum(seconds) / len(seconds) / max(1, len(unfinished))

    def _visible(self) -> list[tuple[str, _Row]]:
        """The rows that fit: the baseline, and the newest others."""
        rows = sorted(self.rows.items(), key=lambda item: in_order(item[0]))
        return rows if len(rows) <= ROWS_SHOWN else [rows[0], *rows[1 - ROWS_SHOWN :]]

    def _line(self, name: str) -> str:
        row = self.rows[name]
        lam, step_size, epoch, srocc, rmse, *_ = self._cells(row)
        return (
            f"{self.names.get(name, name):9} λ {lam:>8}  h {step_size:>7}  epoch {epoch:>5}  SROCC {srocc:>6}  "
            f"attacked RMSE {rmse:>6}  {row.state:8} ({self.time_line()})"
        )

    @staticmethod
    def _cells(row: _Row) -> tuple[str, ...]:
        return (
            f"{row.lam:.2g}" if row.lam else "0",
            f"{row.step_size:.2g}" if row.lam else "–",
            f"{row.epoch}/{row.planned_epochs}",
            "" if row.srocc is None else f"{row.srocc:.3f}",
            "" if row.rmse_attacked is None else f"{row.rmse_attacked:.2f}",
        )


_STYLES = {"complete": "green", "running": "cyan", "failed": "red", "pruned": "yellow", "waiting": "dim"}


def _row_of(trial: TrialSummary) -> _Row:
    last = trial.epochs[-1] if trial.epochs else {}
    return _Row(
        trial.state,
        trial.lam,
        trial.step_size,
        len(trial.epochs),
        trial.planned_epochs,
        last.get("srocc"),
        last.get("rmse_attacked"),
    )


def _any_point(study_file: StudyFile) -> dict[str, float]:
    return {name: axis.low for name, axis in study_file.space.items()}
