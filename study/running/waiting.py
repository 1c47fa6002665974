"""Saying what is being waited for, so that no command is silent for long."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

SILENT = 3.0
"""Seconds after which a log hears of a wait; a terminal is told at once."""


@contextlib.contextmanager
def waiting(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """Show `what` is going on inside: on a terminal with the time spent, elsewhere a line if it takes long.

    Yields what to call with other words as it goes on, which a terminal shows. No other live display may be inside.
    """
    if console.quiet:
        yield _unheard
    elif console.is_terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description} …"), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(what, total=None)
            yield lambda words: progress.update(task, description=words)
    else:
        timer = threading.Timer(SILENT, lambda: console.print(f"{what} …", highlight=False))
        timer.daemon = True
        timer.start()
        try:
            yield _unheard
        finally:
            timer.cancel()


def _unheard(words: str) -> None:
    """Nobody looks."""
