"""`nt-study front`, and what a finished study shows at its end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.commands.options import STUDIES, JsonOption, StudiesOption, StudyName, print_json, terminal, warn
from study.errors import StudyError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from analysis.front import Front, TrialPoint
    from study.storage.directory import StudyDirectory
    from study.storage.summaries import TrialSummary


def front(
    name: StudyName,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV instead of a table: all metrics, a row each.")
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open the interactive plot in a browser as well.")] = False,
    studies: StudiesOption = STUDIES,
    as_json: JsonOption = False,
) -> None:
    """Show a study's Pareto front: chosen on validation, reported on test."""
    from study.looking.frames import csv_of, front_frame
    from study.looking.front_files import front_of, read_confirmed
    from study.storage.directory import find
    from study.storage.summaries import summarise

    if as_csv and as_json:
        raise StudyError("--csv and --json both say what to print; give one of them")
    directory = find(studies, name)
    trials = summarise(directory)
    warn(problem for trial in trials for problem in trial.problems)
    found = front_of(directory, trials)
    confirmed = read_confirmed(directory)
    if open_:
        _open_plot(directory)
    if as_csv:
        print(csv_of(front_frame(found)), end="")
        return
    if as_json:
        print_json(found.to_dict() | {"confirmed": confirmed})
        return
    console = terminal()
    console.print(front_table(found))
    _print_doubt(found, console)
    if confirmed["trials"]:
        console.print(confirmed_table(found, confirmed))
    _print_audit(directory, trials, console)


def _open_plot(directory: StudyDirectory) -> None:
    """Show `front/pareto.html`, made as it is now, in a browser, or say where it lies: a server has none."""
    import webbrowser

    from study.looking.front_files import refresh_front

    refresh_front(directory)
    plot = (directory.front / "pareto.html").resolve()
    if not webbrowser.open(plot.as_uri()):
        warn([f"no browser could be started here; open {plot} in one"])


def _print_doubt(found: Front, console: Console) -> None:
    """That nothing has been learned, if so: no member of the front is a success then."""
    if found.doubt:
        console.print(f"\n{found.doubt}", style="bold", markup=False, highlight=False, soft_wrap=True)


def _print_audit(directory: StudyDirectory, trials: list[TrialSummary], console: Console) -> None:
    """The audit's verdicts, once it has anything to go by."""
    from study.commands.suite import verdicts
    from study.repeating.suite_tasks import audit_study

    complete = [trial for trial in trials if trial.state == "complete"]
    if found := audit_study(directory, complete):
        console.print()
        for line in verdicts(found, len(complete), directory):
            console.print(line, highlight=False, soft_wrap=True)


def show_end(directory: StudyDirectory, console: Console) -> None:
    """The front, where everything is, and what to do next."""
    from study.looking.front_files import front_of
    from study.storage.summaries import count_states, summarise

    trials = summarise(directory)
    found = front_of(directory, trials)
    counts = count_states(directory, trials)
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    console.print(f"\n[bold]Study {directory.name!r}[/]: {states}\n")
    console.print(front_table(found))
    _print_doubt(found, console)
    before, after = found.baseline, found.reported
    if before is not None and after is not None and not found.doubt:
        names = found.objectives
        parts = [f"{name} {before.test[name]:.3g} → {after.test[name]:.3g}" for name in names]
        console.print(f"\nFrom λ=0 to {after.trial}, on test: {', '.join(parts)}")
    _print_audit(directory, trials, console)
    console.print(f"\nEverything is in {directory.place}; the plot is {directory.front / 'pareto.html'}")
    export = directory.command("export", "--pick", "knee", "--out", "knee")
    for line, purpose in (
        *([] if found.doubt else [(export, "export the best compromise")]),
        (directory.command("ui"), "browse the study in MLflow"),
        (directory.command("resume", "--trials", "+12"), "search on"),
    ):
        console.print(f"  {line:64} {purpose}", markup=False, highlight=False, soft_wrap=True)


def front_table(found: Front) -> Table:
    """Members from the most accurate to the most robust, then the λ=0 baseline where it is not one of them."""
    from rich.table import Table

    table = Table(
        title="Pareto front, chosen on validation (val.) images",
        caption=_caption(found),
        box=None,
        pad_edge=False,
        title_justify="left",
    )
    for title in ("trial", "λ", "h"):
        table.add_column(title, justify="left" if title == "trial" else "right", no_wrap=True)
    for split in ("val.", "test"):
        for name in found.shown_metrics:
            table.add_column(f"{split}\n{name.replace('_', ' ')}", justify="right")
    table.add_column("")
    for point in found.shown:
        style = "bold" if point is found.knee and not found.doubt else "dim" if point not in found.members else None
        table.add_row(*_cells(found, point), ", ".join(found.roles(point)), style=style)
    return table


def confirmed_table(found: Front, confirmed: dict[str, Any]) -> Table:
    """Test metrics over the new seeds: mean ± standard deviation, and an interval of the mean."""
    from rich.table import Table

    left = confirmed["within_noise"]
    table = Table(
        title="\nRetrained with new seeds, on test images: mean ± std over seeds "
        "[95 % interval over photographs and seeds]",
        caption=f"dominated only within the spread over seeds: {', '.join(left)}" if left else None,
        box=None,
        pad_edge=False,
        title_justify="left",
    )
    for title in ("trial", "seeds", *(name.replace("_", " ") for name in found.objectives)):
        table.add_column(title, justify="left" if title == "trial" else "right")
    for one in confirmed["trials"]:
        cells = [_over_seeds(one, name) for name in found.objectives]
        table.add_row(one["trial"], str(one["seeds"]), *cells)
    return table


def _over_seeds(one: dict[str, Any], name: str) -> str:
    mean, std, limits = one["mean"]["test"].get(name), one["std"]["test"].get(name), one["test_intervals"].get(name)
    if mean is None:
        return "–"
    text = f"{mean:.3f}" + (f" ± {std:.3f}" if std is not None else "")
    return text + (f" [{limits[0]:.3f}, {limits[1]:.3f}]" if limits and None not in limits else "")


def _cells(found: Front, point: TrialPoint) -> list[str]:
    parts = (point.validation, point.test)
    values = [f"{metrics.get(name, math.nan):.3f}" for metrics in parts for name in found.shown_metrics]
    return [point.trial, *point.lam_and_h, *values]


def _caption(found: Front) -> str:
    return f"{found.volume}; scores of the unrounded attacked images"
