"""Addresses inside MLflow's UI that land on what a study has to show, and the view of its trials that they open.

Measured on MLflow 3.17 in a browser: without `workflowType` a page opens in the workflow for LLM traces; child runs are
folded under their parent unless the list is sorted by something other than the date; columns and charts are chosen by a
view saved as a tag of the experiment. Metrics always stand left of parameters, with all their digits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from trainables.names import as_key

WORKFLOW = "workflowType=machine_learning"
CHARTED = 100
"""Runs that a chart shows at most; MLflow's own limit."""


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
    """A study's trials as charts: the front, parallel coordinates, then every metric."""
    return f"{trials(experiment, study)}&compareRunsMode=CHART"


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
        "compareRunSections": [_section()],
        "compareRunCharts": [
            _scatter("validation", objectives),
            _scatter("test", objectives),
            _parallel(objectives),
        ],
        "isAccordionReordered": True,  # else MLflow puts its own sections, a chart for each metric, first
    }
    return f"mlflow.sharedViewState.{study}", json.dumps(state)


def _section() -> dict[str, Any]:
    own = {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}
    return {"uuid": "nt-study", "name": "The front", **own}


def _card(kind: str, name: str) -> dict[str, Any]:
    own = {"deleted": False, "isGenerated": False, "runsCountToCompare": CHARTED, "metricSectionId": _section()["uuid"]}
    return {"type": kind, "uuid": f"nt-study-{name}", **own}


def _scatter(split: str, objectives: Sequence[str]) -> dict[str, Any]:
    """Accuracy over robustness, as the plot of the front."""
    y, x = ({"key": as_key(f"{split}/{name}"), "type": "METRIC"} for name in objectives[:2])
    return {**_card("SCATTER", split), "xaxis": x, "yaxis": y}


def _parallel(objectives: Sequence[str]) -> dict[str, Any]:
    metrics = [as_key(f"validation/{name}") for name in objectives]
    chosen = {"selectedParams": ["lam", "step_size"], "selectedMetrics": metrics, "showAllRuns": True}
    return {**_card("PARALLEL", "parallel"), **chosen}
