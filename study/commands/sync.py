"""`nt-study sync`."""

from __future__ import annotations

from study.commands.options import (
    STUDIES,
    MlflowOption,
    ProjectOption,
    StudiesOption,
    StudyName,
    progress_terminal,
    warn,
)


def sync(
    name: StudyName,
    mlflow: MlflowOption = None,
    project: ProjectOption = None,
    studies: StudiesOption = STUDIES,
) -> None:
    """Make MLflow's record of a study from its folder, or complete it; doing it again changes nothing."""
    from study.running.waiting import waiting
    from study.storage.directory import find
    from study.storage.summaries import summarise
    from study.tracking.tracker import sync as sync_study

    directory = find(studies, name)
    with waiting(progress_terminal(stderr=True), "writing MLflow's record"):
        recorded = sync_study(directory, mlflow, project=project)
    warn(problem for trial in summarise(directory) for problem in trial.problems)
    what = f"all {recorded} trials" if recorded else "the record, but no trial yet,"
    print(f"MLflow has {what} of study {name!r}; browse them with: {directory.command('ui')}")
