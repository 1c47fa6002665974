"""`nt-study blend`."""

from __future__ import annotations

from typing import Annotated

import typer

from study.commands.options import STUDIES, AddressOption, StudiesOption, go_to


def blend(
    name: Annotated[str, typer.Argument(help="Name of the study.")],
    mixtures: Annotated[int, typer.Option(min=1, help="At most so many, those that there are counted in.")] = 12,
    force: Annotated[bool, typer.Option("--force", help="Go on although code or images have changed.")] = False,
    studies: StudiesOption = STUDIES,
    address: AddressOption = None,
) -> None:
    """Fill a study's front with mixtures: models between the weights of two trials, each at an evaluation's cost."""
    from rich.console import Console

    from study.commands.front import front_table
    from study.looking.front_files import front_of
    from study.running.run import blend as blend_study
    from study.storage.directory import find

    go_to(address)
    directory, console = find(studies, name), Console()
    if not blend_study(directory, mixtures, console, force=force):
        raise typer.Exit(130)
    console.print(front_table(front_of(directory)))
