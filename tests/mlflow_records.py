"""What an MLflow store says of a study."""

from __future__ import annotations

from typing import Any

from mlflow.tracking import MlflowClient


def runs_of(client: MlflowClient, project: str) -> dict[str, Any]:
    """Every run of an experiment by trial; the study's own is "" (a second one of either would be lost: so count)."""
    experiment = client.get_experiment_by_name(project)
    assert experiment is not None
    runs = list(client.search_runs([experiment.experiment_id]))
    by_trial = {run.data.tags.get("trial", ""): run for run in runs}
    assert len(by_trial) == len(runs)
    return by_trial


def files_of(client: MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    found: set[str] = set()
    for entry in client.list_artifacts(run_id, folder):
        found |= files_of(client, run_id, entry.path) if entry.is_dir else {entry.path}
    return found


def snapshot(client: MlflowClient, project: str) -> dict[str, Any]:
    """Everything that a record says, whatever ids it was given.

    Histories are of the metrics that have steps, and of one result: a run's results are sent at once, in one request.
    """
    content = {}
    for trial, run in runs_of(client, project).items():
        history: dict[str, Any] = {**run.data.metrics}
        for name in history:
            if "/" not in name or name == "validation/srocc":
                points = client.get_metric_history(run.info.run_id, name)
                history[name] = [(point.step, point.value) for point in points]
        tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
        tags.pop("front", None)  # holds run ids
        content[trial] = (run.info.status, run.data.params, tags, history, files_of(client, run.info.run_id))
    return content
