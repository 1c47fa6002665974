"""`nt-study`: every command is a function in `study/commands/`, listed in its `menu.py`."""

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

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""


_HOME = re.compile(r"^(--[a-z-]+=)?~(?=/|$)")
"""A user's home where no shell puts it in: in `--out=~/models`, and between quotation marks."""


def main() -> None:
    """Run the command line; problems of the user's are one sentence on standard error and exit code 2."""
    before = signal.signal(signal.SIGINT, _interrupt)
    # Last of all that is done at the end: in Python's own last moments Ctrl-C would end the process by the signal.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    try:
        _run()
    except KeyboardInterrupt:
        _end_with(INTERRUPTED)
    except SystemExit as ended:
        _end_with(ended.code)
    finally:
        signal.signal(signal.SIGINT, before)
        atexit.register(signal.signal, signal.SIGINT, _leave)  # first of all that is done at the end


def _end_with(code: object) -> NoReturn:
    """End with this exit code, also where Ray does not let go of the process."""
    if "study.cluster.local" in sys.modules:
        from study.cluster.local import end_anyway

        end_anyway(code if isinstance(code, int) else int(code is not None))
    sys.exit(code)  # type: ignore[arg-type]


def _run() -> None:
    import warnings

    from search_spaces.yaml_file import StudyFileError
    from study.errors import FAILING, FULL, StudyError

    # What Pillow warns of names no file, and what it refuses is said with the file's name.
    warnings.filterwarnings("ignore", module="PIL")
    app = _app()
    from study.commands.verbosity import shows_tracebacks

    home = str(Path.home())
    sys.argv[1:] = [_HOME.sub(lambda found: (found[1] or "") + home, argument) for argument in sys.argv[1:]]
    try:
        app()
    except (StudyError, StudyFileError, ValueError) as error:
        if shows_tracebacks():
            raise
        sys.exit(_refused(str(error)))
    except OSError as error:
        is_the_disks = error.filename is not None or error.errno in (*FULL, *FAILING)
        if not is_the_disks or shows_tracebacks():
            raise
        sys.exit(_refused(f"{error.filename or 'a disk'} cannot be used: {error.strerror}"))


def _app() -> typer.Typer:
    import typer

    from study.commands.menu import COMMANDS, GROUPS, PANELS, examples_of, exit_codes, function_of
    from study.commands.pages import Group, Page, top
    from study.commands.verbosity import with_verbosity

    app = typer.Typer(
        name="nt-study",
        cls=Group,
        help="Studies of adversarially robust no-reference image quality models: what robustness costs, what to ship.",
        epilog=exit_codes(),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(top)
    groups = {"": app}
    for name, command in sorted(COMMANDS.items(), key=lambda item: PANELS.index(item[1].panel)):
        group, _, word = name.rpartition(" ")
        if group not in groups:
            purpose, panel = GROUPS[group]
            groups[group] = typer.Typer(no_args_is_help=True)
            app.add_typer(groups[group], name=group, help=purpose, rich_help_panel=panel)
        place = groups[group].command(
            word, cls=Page, epilog=examples_of(command), rich_help_panel=None if group else command.panel
        )
        place(with_verbosity(function_of(name)))
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
