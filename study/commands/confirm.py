"""`nt-study confirm`."""

from __future__ import annotations

from typing import Annotated

import typer

from study.commands.options import STUDIES, AddressOption, StudiesOption, StudyName, go_to, progress_terminal, terminal


def confirm(
    name: StudyName,
    seeds: Annotated[int, typer.Option(help="New seeds to retrain with.", min=1)] = 3,
    studies: StudiesOption = STUDIES,
    address: AddressOption = None,
) -> None:
    """Retrain the front and the λ=0 baseline with new seeds, attack them fully, and show how far the results spread."""
    from study.commands.front import confirmed_table
    from study.looking.front_files import read_confirmed, refresh_front
    from study.repeating.new_seeds import confirm as retrain
    from study.storage.directory import find

    go_to(address)
    directory, console = find(studies, name), progress_terminal()
    if not retrain(directory, seeds, console):
        remedy = directory.command("confirm", "--seeds", str(seeds))
        print(f"\nthe confirmation is not finished; continue it with: {remedy}")
        raise typer.Exit(130)
    terminal().print(confirmed_table(refresh_front(directory), read_confirmed(directory)))
    directory.send()
