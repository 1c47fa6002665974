"""`nt-study`: every command is a function in `study/commands/`, listed here."""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import typer

COMMANDS = {
    "launch": "study.commands.launch",
    "resume": "study.commands.launch",
    "stop": "study.commands.stop",
    "status": "study.commands.status",
    "list": "study.commands.status",
    "confirm": "study.commands.confirm",
    "blend": "study.commands.blend",
    "sweep": "study.commands.sweep",
    "front": "study.commands.front",
    "attack": "study.commands.attack",
    "score": "study.commands.export",
    "export": "study.commands.export",
    "register": "study.commands.register",
    "ui": "study.commands.ui",
    "sync": "study.commands.sync",
    "compare": "study.commands.compare",
    "report": "study.commands.report",
    "data check": "study.commands.data",
    "cluster check": "study.commands.cluster",
    "suite": "study.commands.suite",
    "audit": "study.commands.suite",
    "surrogate train": "study.commands.suite",
    "adversaries build": "study.commands.suite",
}
"""Command -> the module whose function of that name (its last word; `list_` for `list`) runs it."""

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""


_HOME = re.compile(r"^(--[a-z-]+=)?~(?=/|$)")
"""A user's home where no shell puts it in: in `--out=~/models`, and between quotation marks."""


def main() -> None:
    """Run the command line; problems of the user's are one sentence on standard error and exit code 2."""
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, before)
        atexit.register(signal.signal, signal.SIGINT, _leave)  # first of all that is done at the end


def _run() -> None:
    import warnings

    from search_spaces.yaml_file import StudyFileError
    from study.errors import StudyError

    # What Pillow warns of names no file, and what it refuses is said with the file's name.
    warnings.filterwarnings("ignore", module="PIL")
    app = _app()
    home = str(Path.home())
    sys.argv[1:] = [_HOME.sub(lambda found: (found[1] or "") + home, argument) for argument in sys.argv[1:]]
    try:
        app()
    except (StudyError, StudyFileError, ValueError) as error:
        if os.environ.get("NT_STUDY_DEBUG"):
            raise
        sys.exit(_refused(str(error)))
    except OSError as error:
        if error.filename is None or os.environ.get("NT_STUDY_DEBUG"):
            raise
        sys.exit(_refused(f"{error.filename} cannot be used: {error.strerror}"))


def _app() -> typer.Typer:
    import importlib

    import typer

    app = typer.Typer(
        name="nt-study",
        help="Studies of adversarially robust no-reference image quality models: what robustness costs, what to ship.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    groups = {"": app}
    for name, module in COMMANDS.items():
        group, _, command = name.rpartition(" ")
        if group not in groups:
            groups[group] = typer.Typer(no_args_is_help=True)
            app.add_typer(groups[group], name=group)
        function = "list_" if command == "list" else command
        groups[group].command(command)(getattr(importlib.import_module(module), function))
    return app


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C: what a command has begun is tidied up, but an import, which libraries bear badly, has begun nothing."""
    while frame is not None:
        if "importlib._bootstrap" in frame.f_code.co_filename:
            _leave()
        frame = frame.f_back
    raise KeyboardInterrupt


def _leave(*_: object) -> NoReturn:
    os._exit(INTERRUPTED)


def _refused(message: str) -> int:
    """Say what is wrong, and on which machine if it is not the user's; returns the exit code."""
    import socket

    from trainables.files import PLACE
    from trainables.trust import without_secrets

    where = f" (on the cluster, {socket.gethostname()}, where paths are looked for)" if PLACE in os.environ else ""
    print(f"nt-study: {without_secrets(message)}{where}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
