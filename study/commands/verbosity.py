"""`-q` and `-v`, which every command takes: how much is said beside its result."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from trainables.logs import LogFormatter

PROGRESS = "nt-study.progress"
"""The logger whose level says whether progress is shown."""
TRACEBACKS = "nt-study.tracebacks"
"""The logger whose level says whether an error comes with its traceback."""

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show results and warnings, no progress.")]
Verbose = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Show the log on standard error; -vv: tracebacks as well.")
]


def with_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """The same command with `-q` and `-v` beside its own options."""
    signature = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def run(*, quiet: bool, verbose: int, **arguments: Any) -> None:
        with verbosity(-1 if quiet else verbose):
            command(**arguments)

    options = {"quiet": (Quiet, False), "verbose": (Verbose, 0)}
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[
            *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in signature.parameters.values()),
            *(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
                for name, (kind, default) in options.items()
            ),
        ]
    )
    run.__annotations__ = typing.get_type_hints(command, include_extras=True) | {
        name: kind for name, (kind, _) in options.items()
    }
    return run


@contextlib.contextmanager
def verbosity(level: int) -> Iterator[None]:
    """-1: results and warnings only; 0: progress too; 1: and the log on standard error; 2: and tracebacks of errors."""
    logging.getLogger(PROGRESS).setLevel(logging.ERROR if level < 0 else logging.NOTSET)
    logging.getLogger(TRACEBACKS).setLevel(logging.DEBUG if level > 1 else logging.WARNING)
    if level < 1:
        yield
        return
    root, handler = logging.getLogger(), _StandardError()
    handler.setFormatter(LogFormatter())
    before = root.level
    root.addHandler(handler)
    root.setLevel(min(before, logging.INFO))
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def shows_progress() -> bool:
    return logging.getLogger(PROGRESS).isEnabledFor(logging.WARNING)


def shows_tracebacks() -> bool:
    return bool(os.environ.get("NT_STUDY_DEBUG")) or logging.getLogger(TRACEBACKS).isEnabledFor(logging.DEBUG)


class _StandardError(logging.StreamHandler[Any]):
    """Writes to what standard error is at the moment: a live table on the terminal takes its place for a while."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr
