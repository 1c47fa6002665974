"""Options that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

StudiesOption = Annotated[Path, typer.Option("--studies", help="Folder that holds the studies.", envvar="NT_STUDIES")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
MlflowOption = Annotated[
    str | None, typer.Option("--mlflow", help="MLflow server or store.", envvar="MLFLOW_TRACKING_URI")
]
ProjectOption = Annotated[
    str | None, typer.Option("--project", help="MLflow experiment of the study.", envvar="MLFLOW_EXPERIMENT_NAME")
]
STUDIES = Path("studies")


def print_json(content: Any) -> None:
    """Machine-readable output: plain JSON on standard output."""
    print(json.dumps(content, indent=1, ensure_ascii=False))
