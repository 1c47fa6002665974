"""A study's front: computed from the trials' score tables, and kept as files for people to open."""

from __future__ import annotations

import dataclasses
import json

from analysis.front import Front, find_front
from study.directory import StudyDirectory
from study.summaries import TrialSummary, summarise
from trainables.files import write_atomically


def front_of(directory: StudyDirectory, trials: list[TrialSummary] | None = None) -> Front:
    """The front of a study's complete trials on validation. ValueError when no trial is complete yet."""
    study_file = directory.read_study_file()
    summaries = summarise(directory) if trials is None else trials
    runs = directory.read_json("mlflow.json").get("runs", {}) if (directory.path / "mlflow.json").exists() else {}
    points = [
        dataclasses.asdict(trial)
        | {
            "epochs": len(trial.epochs),
            "run_id": runs.get(trial.trial, ""),
            "is_baseline": trial.is_baseline,
            "is_paper_setting": _is_at(trial, study_file.paper_point),
        }
        for trial in summaries
    ]
    return find_front(directory.name, points, study_file.objectives)


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
