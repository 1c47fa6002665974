"""A study's front: computed from the trials' score tables, and kept as files for people to open."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from analysis.front import Front, doubt_of, find_front
from study.storage.directory import StudyDirectory
from study.storage.reading import read_object_if_any
from study.storage.summaries import TrialSummary, summarise
from trainables.config import BASELINE
from trainables.files import write_atomically
from trainables.record import SCORES, read_scores

FRONT_FILES = ("front.json", "pareto.html", "pareto.png")
CONFIRMED = "confirmed.json"
"""In the folder `front`: what retraining with new seeds found."""


def front_of(directory: StudyDirectory, trials: list[TrialSummary] | None = None) -> Front:
    """The front of a study's complete trials on validation. ValueError when no trial is complete yet."""
    study_file = directory.read_study_file()
    summaries = summarise(directory) if trials is None else trials
    confirmed = read_confirmed(directory)
    spreads = {one["trial"]: _numbers(one["std"]["validation"]) for one in confirmed["trials"]}
    runs = read_object_if_any(directory.path / "mlflow.json").get("runs")
    points = [
        dataclasses.asdict(trial)
        | {
            "epochs": len(trial.epochs),
            "run_id": runs.get(trial.trial, "") if isinstance(runs, dict) else "",
            "is_baseline": trial.is_baseline,
            "is_paper_setting": _is_at(trial, study_file.paper_point),
            "spread": spreads.get(trial.trial, {}),
            "within_noise": trial.trial in confirmed["within_noise"],
        }
        for trial in summaries
    ]
    return find_front(directory.name, points, study_file.objectives, doubt=_doubt(directory, summaries))


def _doubt(directory: StudyDirectory, trials: list[TrialSummary]) -> str:
    """Whether the study's models have learned anything, as far as its baseline can tell."""
    path = directory.trial(BASELINE) / SCORES
    if not any(trial.is_baseline and trial.state == "complete" for trial in trials):
        return ""
    return _doubt_of_version(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _doubt_of_version(path: Path, _modified: int) -> str:
    return doubt_of(read_scores(path))


def data_of(directory: StudyDirectory, trials: list[TrialSummary]) -> str:
    """The fingerprint of the images and the split that a study is measured on; empty where its folder does not say.

    The split is told by a complete trial's score table, which a study's kept records have as well.
    """
    data = read_object_if_any(directory.path / "environment.json").get("data")
    fingerprint = data.get("fingerprint") if isinstance(data, dict) else None
    complete = [trial.trial for trial in trials if trial.state == "complete"]
    if not fingerprint or not complete:
        return ""
    rows = read_scores(directory.trial(complete[0]) / SCORES)[["image", "split"]].drop_duplicates()
    split = rows.sort_values(["image", "split"]).to_csv(index=False)
    return f"{str(fingerprint)[:12]}/{hashlib.sha256(split.encode()).hexdigest()[:12]}"


def read_confirmed(directory: StudyDirectory) -> dict[str, Any]:
    """What `nt-study confirm` found: `trials`, each with mean and std over new seeds, and the trials `within_noise`."""
    found = read_object_if_any(directory.front / CONFIRMED)
    return found if isinstance(found.get("trials"), list) else {"trials": [], "within_noise": []}


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
    return bool(point) and not trial.is_mixture and (trial.lam, trial.step_size) == (point["lam"], point["step_size"])
