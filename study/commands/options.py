"""Options that several commands share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.commands.verbosity import shows_progress
from study.suggest import DEFAULT_STUDIES

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 1000
"""Columns of what is not shown on a terminal."""


def _studies_folder(place: str) -> Path:
    from study.storage.mirror import studies_folder

    return studies_folder(place)


def _study_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The studies that a half-written name may be of, for the shell's completion; of a bucket none, for it is far."""
    studies = Path(ctx.params.get("studies") or os.environ.get("NT_STUDIES") or STUDIES)
    found = (file.parent.name for file in sorted(studies.glob("*/study.yaml")))
    return [name for name in found if name.startswith(incomplete)]


StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of the study.", autocompletion=_study_names)]
AnyStudyName = Annotated[
    str | None,
    typer.Argument(metavar="STUDY", help="Name of a study; every study when left out.", autocompletion=_study_names),
]
StudyNames = Annotated[
    list[str], typer.Argument(metavar="STUDY…", help="Names of the studies.", autocompletion=_study_names)
]
StudiesOption = Annotated[
    Path,
    typer.Option(
        "--studies",
        help="Folder that holds the studies, or a bucket's address: s3://bucket/studies.",
        metavar="PLACE",
        envvar="NT_STUDIES",
        parser=_studies_folder,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
DeviceOption = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1, …")]
SwinScaleOption = Annotated[
    str | None,
    typer.Option(metavar="NUMBER", help="For a MANIQA checkpoint: the scale in its training code, such as 0.8."),
]
MlflowOption = Annotated[
    str | None, typer.Option("--mlflow", help="MLflow server or store.", envvar="MLFLOW_TRACKING_URI")
]
ProjectOption = Annotated[
    str | None, typer.Option("--project", help="MLflow experiment of the study.", envvar="MLFLOW_EXPERIMENT_NAME")
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster to run on: auto or host:port from one of its nodes, http://host:8265 from elsewhere.",
        envvar="RAY_ADDRESS",
    ),
]
SPLIT_HELP = "How images are divided into training, validation and test: content, random, authors or given."
STUDIES = DEFAULT_STUDIES


def terminal(*, stderr: bool = False) -> Console:
    """Where results are shown. In a pipe or a file no line is broken for a terminal that is not there."""
    from rich.console import Console

    console = Console(stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    return console


def progress_terminal(*, stderr: bool = False) -> Console:
    """Where progress is shown; nowhere with `-q`."""
    console = terminal(stderr=stderr)
    console.quiet = not shows_progress()
    return console


def go_to(address: str | None) -> None:
    """Run the whole command on the cluster when `address` is its dashboard, and exit; else have Ray join it."""
    if address is None:
        return
    from study.cluster.submit import is_dashboard, submit, without_address

    if is_dashboard(address):
        raise typer.Exit(submit(address, without_address(sys.argv[1:])))
    os.environ["RAY_ADDRESS"] = address


def warn(problems: Iterable[str]) -> None:
    """Say on standard error what is left out of what is shown, and why."""
    for problem in problems:
        print(f"nt-study: {problem}", file=sys.stderr)


def print_json(content: Any) -> None:
    """Machine-readable output: plain JSON on standard output."""
    print(json.dumps(content, indent=1, ensure_ascii=False))
