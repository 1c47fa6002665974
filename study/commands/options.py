"""Options that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

StudiesOption = Annotated[Path, typer.Option("--studies", help="Folder that holds the studies.", envvar="NT_STUDIES")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
STUDIES = Path("studies")


def print_json(content: Any) -> None:
    """Machine-readable output: plain JSON on standard output."""
    print(json.dumps(content, indent=1, ensure_ascii=False))
