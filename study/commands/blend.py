"""`nt-study blend`."""

from __future__ import annotations

from typing import Annotated

import typer

from study.commands.options import STUDIES, AddressOption, StudiesOption, StudyName, go_to, progress_terminal, terminal


def blend(
    name: StudyName,
    mixtures: Annotated[int, typer.Option(min=1, help="At most so many, those that there are counted in.")] = 12,
    force: Annotated[bool, typer.Option("--force", help="Go on although code or images have changed.")] = False,
    studies: StudiesOption = STUDIES,
    address: AddressOption = None,
) -> None:
    """Fill a study's front with mixtures: models between the weights of two trials, each at an evaluation's cost."""
    from study.commands.front import front_table
    from study.looking.front_files import front_of
    from study.running.run import blend as blend_study
    from study.storage.directory import find

    go_to(address)
    directory = find(studies, name)
    if not blend_study(directory, mixtures, progress_terminal(), force=force):
        raise typer.Exit(130)
    terminal().print(front_table(front_of(directory)))
