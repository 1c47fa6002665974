"""`nt-study sync`."""

from __future__ import annotations

from typing import Annotated

import typer

from study.commands.options import STUDIES, MlflowOption, ProjectOption, StudiesOption


def sync(
    name: Annotated[str, typer.Argument(help="Name of the study.")],
    mlflow: MlflowOption = None,
    project: ProjectOption = None,
    studies: StudiesOption = STUDIES,
) -> None:
    """Make MLflow's record of a study from its folder, or complete it; doing it again changes nothing."""
    from study.storage.directory import find
    from study.tracking.tracker import sync as sync_study

    recorded = sync_study(find(studies, name), mlflow, project=project)
    print(f"MLflow has all {recorded} trials of study {name!r}; browse them with: nt-study ui {name}")
