"""`nt-study register`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from study.commands.options import (
    STUDIES,
    JsonOption,
    MlflowOption,
    StudiesOption,
    StudyName,
    print_json,
    progress_terminal,
)


def register(
    name: StudyName,
    pick: Annotated[str, typer.Option(help="knee, most-accurate, most-robust, front, or a trial's name.")] = "front",
    mlflow: MlflowOption = None,
    studies: StudiesOption = STUDIES,
    as_json: JsonOption = False,
) -> None:
    """Put trained models into MLflow's registry as versions of BASELINE-nt with aliases."""
    from study.running.waiting import waiting
    from study.storage.directory import find
    from study.tracking.registry import register as register_models

    with waiting(progress_terminal(stderr=True), "registering models"):
        registered = register_models(find(studies, name), pick, mlflow)
    if as_json:
        print_json({"registered": [asdict(version) for version in registered]})
        return
    for version in registered:
        uris = [f"models:/{version.model}@{alias}" for alias in version.aliases]
        print(f"{version.trial:10} models:/{version.model}/{version.version}  {'  '.join(uris)}")
