"""A study's front: computed from the trials' score tables, and kept as files for people to open."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from analysis.front import Front, find_front
from study.storage.directory import StudyDirectory
from study.storage.summaries import TrialSummary, summarise
from trainables.files import write_atomically

CONFIRMED = "confirmed.json"
"""In the folder `front`: what retraining with new seeds found."""


def front_of(directory: StudyDirectory, trials: list[TrialSummary] | None = None) -> Front:
    """The front of a study's complete trials on validation. ValueError when no trial is complete yet."""
    study_file = directory.read_study_file()
    summaries = summarise(directory) if trials is None else trials
    confirmed = read_confirmed(directory)
    spreads = {one["trial"]: _numbers(one["std"]["validation"]) for one in confirmed["trials"]}
    runs = directory.read_json("mlflow.json").get("runs", {}) if (directory.path / "mlflow.json").exists() else {}
    points = [
        dataclasses.asdict(trial)
        | {
            "epochs": len(trial.epochs),
            "run_id": runs.get(trial.trial, ""),
            "is_baseline": trial.is_baseline,
            "is_paper_setting": _is_at(trial, study_file.paper_point),
            "spread": spreads.get(trial.trial, {}),
            "within_noise": trial.trial in confirmed["within_noise"],
        }
        for trial in summaries
    ]
    return find_front(directory.name, points, study_file.objectives)


def read_confirmed(directory: StudyDirectory) -> dict[str, Any]:
    """What `nt-study confirm` found: `trials`, each with mean and std over new seeds, and the trials `within_noise`."""
    if not (directory.front / CONFIRMED).exists():
        return {"trials": [], "within_noise": []}
    return directory.read_json(f"front/{CONFIRMED}")


def _numbers(values: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def refresh_front(directory: StudyDirectory) -> Front:
    """Write `front/front.json`, `front/pareto.html` and `front/pareto.png` as they are now; returns the front."""
    from analysis.figures.pareto import pareto_html, pareto_png

    front = front_of(directory)
    content = json.dumps(front.to_dict(), indent=1, ensure_ascii=False)
    write_atomically(directory.front / "front.json", content.encode())
    write_atomically(directory.front / "pareto.html", pareto_html(front).encode())
    write_atomically(directory.front / "pareto.png", pareto_png(front))
    return front


def _is_at(trial: TrialSummary, point: dict[str, float]) -> bool:
    return bool(point) and (trial.lam, trial.step_size) == (point["lam"], point["step_size"])
