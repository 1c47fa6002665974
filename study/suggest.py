"""Commands that messages suggest: each works when it is pasted into the shell in which ours was given."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from study.storage.mirror import place_of

PROGRAM = "nt-study"
MODULES = {"study/cli.py": "study.cli", "nt_study/__main__.py": "nt_study"}
"""Folder and file that run -> what stands behind `python -m`."""
DEFAULT_STUDIES = Path("studies")
"""Where studies are kept unless `--studies` says otherwise."""


def command(*words: str | Path, studies: Path | None = None) -> str:
    """A command line of ours. studies: the folder, for commands that take `--studies`; left out where it is usual."""
    option = [] if studies is None or studies == DEFAULT_STUDIES else ["--studies", place_of(studies)]
    return f"{_program()} {shlex.join([*map(str, words), *option])}"


def _program() -> str:
    """How this program is called here: by its name only where the shell finds it, and finds this one."""
    called = Path(sys.argv[0])
    if module := MODULES.get("/".join(called.parts[-2:])):
        return shlex.join([sys.executable, "-m", module])
    if called.name != PROGRAM:
        return PROGRAM  # a worker, or somebody else's program
    found = shutil.which(PROGRAM)
    is_found = found is not None and Path(found).resolve() == called.resolve()
    return PROGRAM if is_found or not called.exists() else shlex.quote(str(called))
