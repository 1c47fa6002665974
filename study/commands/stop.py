"""`nt-study stop`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from study.commands.options import STUDIES, StudiesOption, StudyName
from study.errors import StudyError


def stop(
    name: StudyName,
    wait: Annotated[float, typer.Option(help="Seconds to wait for its end.", min=0)] = 120.0,
    studies: StudiesOption = STUDIES,
) -> None:
    """Ask a running study, wherever its driver is, to end gracefully; finished epochs are kept."""
    from study.storage.directory import find

    directory = find(studies, name)
    owner = directory.owner()
    if owner is None:
        print(f"nobody runs study {name!r} now")
        return
    directory.request_stop()
    deadline = time.monotonic() + wait
    while directory.owner() is not None and time.monotonic() < deadline:
        time.sleep(0.2)
    if directory.owner() is not None:
        raise StudyError(
            f"study {name!r} has been asked to stop and process {owner['pid']} on {owner['host']} has not ended within "
            f"{wait:g} s; it ends when the epochs under way are over"
        )
    print(f"stopped; continue it with: {directory.command('resume')}")
