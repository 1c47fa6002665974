"""Addresses inside MLflow's UI that land on what a study has to show, and the view of its trials that they open.

Measured on MLflow 3.17 in a browser: without `workflowType` a page opens in the workflow for LLM traces; child runs are
folded under their parent unless the list is sorted by something other than the date; columns are chosen by a view
saved as a tag of the experiment.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from trainables.names import as_key

WORKFLOW = "workflowType=machine_learning"
COMPARABLE = 100
"""Runs that fit into one comparison's address."""


def overview(experiment: str, run_id: str) -> str:
    """A run's first page; for a study that is its description with the front's table."""
    return f"#/experiments/{experiment}/runs/{run_id}?{WORKFLOW}"


def plot(experiment: str, run_id: str) -> str:
    """The interactive front."""
    return f"#/experiments/{experiment}/runs/{run_id}/artifacts/front/pareto.html?{WORKFLOW}"


def trials(experiment: str, study: str) -> str:
    """A study's trials as a table, the most robust first."""
    return f"#/experiments/{experiment}/runs?{WORKFLOW}&viewStateShareKey={quote(study)}"


def charts(experiment: str, study: str) -> str:
    """A study's trials as charts of every metric."""
    return f"{trials(experiment, study)}&compareRunsMode=CHART"


def comparison(experiment: str, run_ids: Sequence[str]) -> str:
    """Runs side by side: parallel coordinates, scatter plots, parameters and metrics."""
    runs, experiments = (json.dumps(ids, separators=(",", ":")) for ids in (list(run_ids)[:COMPARABLE], [experiment]))
    return f"#/compare-runs?runs={quote(runs)}&experiments={quote(experiments)}&{WORKFLOW}"


def view_tag(study: str, objectives: Sequence[str]) -> tuple[str, str]:
    """Name and value of the experiment's tag that `trials` and `charts` refer to."""
    metrics = [f"metrics.`{as_key(f'{split}/{name}')}`" for split in ("validation", "test") for name in objectives]
    columns = ["params.`lam`", "params.`step_size`", *metrics, "tags.`state`"]
    state = {
        "searchFilter": f"tags.study = '{study}'",
        "orderByKey": f"metrics.`{as_key(f'validation/{objectives[1]}')}`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "runsHiddenMode": "SHOWALL",
    }
    return f"mlflow.sharedViewState.{study}", json.dumps(state)
