"""`nt-study delete` and `nt-study rename`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from study.commands.options import STUDIES, MlflowOption, StudiesOption, StudyName
from study.errors import StudyError


def delete(
    name: StudyName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    mlflow: MlflowOption = None,
    studies: StudiesOption = STUDIES,
) -> None:
    """Delete a study: its folder with all weights and records, its search, its runs in MLflow. There is no way back.

    Exports and registered models stay. A running study is not deleted, nor a folder with files of others in it.
    """
    from study.search.names import forget_search
    from study.storage.directory import find
    from study.storage.whole import check_whole, remove
    from study.tracking.tracker import forget

    directory = find(studies, name)
    check_whole(directory)
    if not yes:
        _ask(f"delete {directory.place} with everything in it?")
    stays = []
    with directory.locked():
        for what, step in (
            ("its runs in MLflow", lambda: forget(directory, mlflow)),
            ("its search", lambda: forget_search(directory, directory.read_study_file())),
        ):
            try:
                step()
            except StudyError as error:
                stays.append(f"{what} stay{'s' if what == 'its search' else ''}: {error}")
        remove(directory)
    print(f"study {name!r} is deleted")
    for sentence in stays:
        print(f"nt-study: {sentence}", file=sys.stderr)


def rename(
    name: StudyName,
    new: Annotated[str, typer.Argument(metavar="NEW_NAME", help="What it is called from now on.")],
    mlflow: MlflowOption = None,
    studies: StudiesOption = STUDIES,
) -> None:
    """Give a study another name: its folder, its search, its runs in MLflow."""
    from study.search.names import rename_search
    from study.storage.directory import check_new, find
    from study.storage.whole import check_whole, move
    from study.tracking.tracker import rename as rename_runs

    directory = find(studies, name)
    check_whole(directory)
    check_new(studies, new)
    with directory.locked():
        rename_runs(directory, new, mlflow)  # first: what cannot be reached leaves all as it was
        rename_search(directory, directory.read_study_file(), new)
        moved = move(directory, new)
    print(f"study {name!r} is now {new!r}; look at it with: {moved.command('status')}")


def _ask(question: str) -> None:
    """StudyError where nobody answers yes."""
    if not sys.stdin.isatty():
        raise StudyError(f"{question} Nobody is here to answer; add --yes")
    if not typer.confirm(question):
        raise StudyError("nothing was deleted")
