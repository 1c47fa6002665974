"""`nt-study refit`."""

from __future__ import annotations

from typing import Annotated

import typer

from study.commands.options import STUDIES, AddressOption, StudiesOption, StudyName, go_to, progress_terminal, terminal


def refit(
    name: StudyName,
    pick: Annotated[str, typer.Option(help="knee, most-accurate, most-robust, front, or a trial's name.")] = "knee",
    studies: StudiesOption = STUDIES,
    address: AddressOption = None,
) -> None:
    """Train a chosen model and λ=0 once more, on training and validation images together, and measure them on test.

    λ, h and the number of epochs stay as validation chose them, and nothing is chosen any more. Export it with:
    nt-study export NAME --refit.
    """
    from rich.table import Table

    from study.export.writing import pick_points
    from study.looking.front_files import front_of
    from study.repeating.refit import refit as train_again
    from study.repeating.refit import refit_metrics
    from study.storage.directory import find

    go_to(address)
    directory, console = find(studies, name), progress_terminal()
    front = front_of(directory)
    points = pick_points(front, pick)
    if not train_again(directory, [point.trial for point in points], console):
        print(f"\nthe refit is not finished; continue it with: {directory.command('refit', '--pick', pick)}")
        raise typer.Exit(130)
    table = Table(title="\nTest images", box=None, pad_edge=False, title_justify="left")
    table.add_column("trial")
    for title in (name.replace("_", " ") for name in front.objectives):
        table.add_column(title, justify="right")
        table.add_column("refit", justify="right")
    shown = {of.trial: of for of in (front.baseline, *points) if of is not None}
    for trial, point in shown.items():
        refitted = refit_metrics(directory, trial)
        table.add_row(
            trial, *(f"{value:.3f}" for name in front.objectives for value in (point.test[name], refitted[name]))
        )
    terminal().print(table)
