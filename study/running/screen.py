"""What a running study looks like in a terminal: a bar per trial, the front so far as a small plot, the time left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from search_spaces.schema import StudyFile
from study.running.costs import epoch_cost, models_attacked, suite_cost
from study.running.eta import Plan, Timed, time_left
from study.running.words import clock
from study.storage.summaries import TrialSummary, epoch_seconds
from trainables.config import BASELINE, in_order

ROWS_SHOWN = 24
BAR = 8
"""Characters of a trial's bar."""
PLOT_WIDTH, PLOT_HEIGHT = 44, 8
"""Characters of the plot."""
STYLES = {"complete": "green", "running": "cyan", "failed": "red", "pruned": "yellow", "waiting": "dim"}


@dataclass
class Row:
    """A trial as it is shown."""

    state: str
    lam: float
    step_size: float
    epoch: int
    planned_epochs: int
    srocc: float | None = None
    rmse_attacked: float | None = None
    timed: Timed = field(default_factory=lambda: Timed(0, 0))

    @property
    def has_ended(self) -> bool:
        return self.state not in ("running", "waiting")


def row_of(trial: TrialSummary, overhead: float | None = None, idle: float = 0.0) -> Row:
    """A trial as its folder tells it.

    overhead: seconds that it took beside its epochs, where it has ended. idle: since its folder was last written to.
    """
    last = trial.epochs[-1] if trial.epochs else {}
    row = Row(
        trial.state,
        trial.lam,
        trial.step_size,
        len(trial.epochs),
        trial.planned_epochs,
        last.get("srocc"),
        last.get("rmse_attacked"),
    )
    seconds = [epoch_seconds(epoch) for epoch in trial.epochs]
    record = overhead if row.has_ended else None
    row.timed = Timed(row.epoch, row.planned_epochs, trial.is_baseline, row.has_ended, seconds, record, idle=idle)
    return row


def seconds_left(
    rows: Mapping[str, Row], study_file: StudyFile, at_a_time: int, *, mixtures_made: int = 0, attacked: int = 0
) -> tuple[float, float] | None:
    """`eta.time_left` of the trials that are shown. attacked: models that have had the full suite."""
    for row in rows.values():
        row.timed.epoch, row.timed.planned_epochs, row.timed.has_ended = row.epoch, row.planned_epochs, row.has_ended
    plan = Plan(
        asked=study_file.trials,
        epochs=study_file.trial_config("t000", {name: axis.low for name, axis in study_file.space.items()}).epochs,
        mixtures=max(0, study_file.mixtures - mixtures_made),
        at_a_time=at_a_time,
        baseline_first=study_file.recipe.init == "baseline",
        epoch_cost=epoch_cost(study_file),
        attacked=max(0, models_attacked(study_file, _share_on_front(rows)) - attacked),
        suite_cost=suite_cost(study_file),
    )
    return time_left([row.timed for row in rows.values()], plan)


def _share_on_front(rows: Mapping[str, Row]) -> float:
    points = list(_finished(rows).values())
    return sum(not _is_dominated(point, points) for point in points) / len(points) if points else 1.0


def left(found: tuple[float, float] | None) -> str:
    """The time that is left in words, with how sure that is; empty before there is a pace."""
    if found is None:
        return ""
    seconds, doubt = found
    return f"about {clock(seconds)} left (± {clock(doubt)})"


def screen(rows: Mapping[str, Row], line: str, names: Mapping[str, str] | None = None) -> Group:
    """Table, plot and a line on the time; `names` as for `Progress`."""
    table = Table(box=None, pad_edge=False)
    for title in ("trial", "λ", "h", "", "epoch", "SROCC", "attacked RMSE", "state"):
        table.add_column(title, justify="left" if title in ("trial", "state", "") else "right", no_wrap=True)
    for name, row in _visible(rows):
        lam, step_size, epoch, srocc, rmse = cells(row)
        shown = (names or {}).get(name, name)
        table.add_row(shown, lam, step_size, _bar(row), epoch, srocc, rmse, Text(row.state, style=STYLES[row.state]))
    parts: list[RenderableType] = [table]
    if picture := plot(rows):
        parts.append(Text(f"\n{picture}", style="dim"))
    return Group(*parts, Text(line, style="dim"))


def cells(row: Row) -> tuple[str, str, str, str, str]:
    """λ, h, epoch, SROCC and attacked RMSE of a row, as they are shown."""
    return (
        f"{row.lam:.2g}" if row.lam else "0",
        f"{row.step_size:.2g}" if row.lam and not math.isnan(row.step_size) else "–",
        f"{row.epoch}/{row.planned_epochs}",
        "" if row.srocc is None else f"{row.srocc:.3f}",
        "" if row.rmse_attacked is None else f"{row.rmse_attacked:.2f}",
    )


def _visible(rows: Mapping[str, Row]) -> list[tuple[str, Row]]:
    """The rows that fit: the baseline, and the newest others."""
    ordered = sorted(rows.items(), key=lambda item: in_order(item[0]))
    return ordered if len(ordered) <= ROWS_SHOWN else [ordered[0], *ordered[1 - ROWS_SHOWN :]]


def _bar(row: Row) -> Text:
    done = round(BAR * row.epoch / row.planned_epochs) if row.planned_epochs else 0
    return Text("━" * done, style=STYLES[row.state]) + Text("─" * (BAR - done), style="dim")


def plot(rows: Mapping[str, Row]) -> str:
    """The finished trials: attacked RMSE to the right, SROCC upwards; empty while there are fewer than two.

    ● on the front, · dominated, ★ the λ=0 baseline. As the last epoch's probe has it, which is close to the record.
    """
    points = _finished(rows)
    if len(points) < 2:
        return ""
    across, up = ([point[axis] for point in points.values()] for axis in (0, 1))
    grid = [[" "] * PLOT_WIDTH for _ in range(PLOT_HEIGHT)]
    for name, point in sorted(points.items(), key=lambda item: _rank(item[0], item[1], list(points.values()))):
        column = _place(point[0], across, PLOT_WIDTH)
        line = PLOT_HEIGHT - 1 - _place(point[1], up, PLOT_HEIGHT)
        grid[line][column] = "★" if name == BASELINE else "·" if _is_dominated(point, list(points.values())) else "●"
    margin = [f"{max(up):.3f}", *[""] * (PLOT_HEIGHT - 2), f"{min(up):.3f}"]
    lines = [f"{label:>7} │{''.join(line)}" for label, line in zip(margin, grid, strict=True)]
    ends = f"{min(across):<8.2f}{'attacked RMSE':^{PLOT_WIDTH - 16}}{max(across):>8.2f}"
    return "\n".join(["  SROCC", *lines, f"{'':>7} └{'─' * PLOT_WIDTH}", f"{'':>9}{ends}"])


def _finished(rows: Mapping[str, Row]) -> dict[str, tuple[float, float]]:
    """Attacked RMSE and SROCC of the finished trials that have both."""
    points = {
        name: (float(row.rmse_attacked), float(row.srocc))
        for name, row in rows.items()
        if row.state == "complete" and row.rmse_attacked is not None and row.srocc is not None
    }
    return {name: point for name, point in points.items() if math.isfinite(sum(point))}


def _place(value: float, among: Sequence[float], size: int) -> int:
    low, high = min(among), max(among)
    return round((size - 1) * (value - low) / (high - low)) if high > low else 0


def _is_dominated(point: tuple[float, float], others: Sequence[tuple[float, float]]) -> bool:
    return any(other[0] <= point[0] and other[1] >= point[1] and other != point for other in others)


def _rank(name: str, point: tuple[float, float], others: Sequence[tuple[float, float]]) -> int:
    """What is drawn last is seen where two points share a place."""
    return 2 if name == BASELINE else 0 if _is_dominated(point, others) else 1
