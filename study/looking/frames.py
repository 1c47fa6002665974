"""A study's trials, its front and its audit as tables: a row each, for CSV files and for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.front import Front, TrialPoint
from study.storage.summaries import TrialSummary
from trainables.trust import as_cell

if TYPE_CHECKING:
    from trainables.audit import Flag

SPLITS = ("validation", "test")
MADE = ("trial", "kind", "state", "lam", "step_size")
POINT = ("trial", "kind", "role", "lam", "step_size", "parents", "weight")
FLAG = ("trial", "rule", "attack", "ratio", "limit", "message")


def trials_frame(trials: Iterable[TrialSummary]) -> pd.DataFrame:
    """A row for every trial and mixture, in the study's order.

    Columns: `trial`, `kind` ("trial" or "mixture"), `state`, `defence`, `lam`, `step_size`, what else was searched,
    `passes` (of the network over the training views), `epochs`, `planned_epochs`, `train_seconds`, `reason` and every
    metric as `validation_<name>` and `test_<name>` (`trainables.objectives`); NaN where a trial has none.
    """
    rows = [
        {
            "trial": trial.trial,
            "kind": "mixture" if trial.is_mixture else "trial",
            "state": trial.state,
            "defence": trial.defence,
            "lam": trial.lam,
            "step_size": trial.step_size,
            **trial.training,
            "passes": trial.passes,
            "epochs": len(trial.epochs),
            "planned_epochs": trial.planned_epochs,
            "train_seconds": trial.seconds,
            "reason": trial.reason,
            **_metrics(trial.validation, trial.test),
        }
        for trial in trials
    ]
    return _frame(rows, MADE)


def front_frame(found: Front) -> pd.DataFrame:
    """A row for every member of the front, from the most accurate to the most robust, then the λ=0 baseline.

    Columns: `trial`, `kind`, `role` (such as "knee"; empty for most), `lam`, `step_size`, of a mixture its `parents`
    and the second one's `weight`, and every metric as `validation_<name>` and `test_<name>`.
    """
    return _frame([_row(found, point) for point in found.shown], POINT)


def audit_frame(found: Mapping[str, Iterable[Flag]]) -> pd.DataFrame:
    """A row for every reason to doubt a trial's robustness: `trial`, `rule`, `attack`, `ratio`, `limit`, `message`."""
    return _frame([{"trial": trial, **vars(flag)} for trial, flags in found.items() for flag in flags], FLAG)


def csv_of(frame: pd.DataFrame) -> str:
    """The table as CSV; a text that a spreadsheet would run is written so that it does not."""
    return frame.map(as_cell).to_csv(index=False, lineterminator="\n")


def _row(found: Front, point: TrialPoint) -> dict[str, Any]:
    return {
        "trial": point.trial,
        "kind": "mixture" if point.is_mixture else "trial",
        "role": ", ".join(found.roles(point)),
        "lam": point.lam,
        "step_size": point.step_size,
        "parents": "~".join(point.parents),
        "weight": float("nan") if point.weight is None else point.weight,
        **_metrics(point.validation, point.test),
    }


def _metrics(*of_splits: Mapping[str, float]) -> dict[str, float]:
    named = zip(SPLITS, of_splits, strict=True)
    return {f"{split}_{name}": value for split, metrics in named for name, value in metrics.items()}


def _frame(rows: list[dict[str, Any]], least: tuple[str, ...]) -> pd.DataFrame:
    """The rows; with the columns that there are always, where there is no row."""
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(least))
