"""A study's front: computed from the trials' score tables, and kept as files for people to open."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from analysis.front import SPLITS, Front, doubt_of, find_front
from study.storage.directory import StudyDirectory
from study.storage.reading import read_object_if_any
from study.storage.summaries import TrialSummary, each_trial, summarise_trial
from trainables.config import BASELINE
from trainables.files import write_atomically
from trainables.record import SCORES, read_scores

FRONT_FILES = ("front.json", "pareto.html", "pareto.png")
CONFIRMED = "confirmed.json"
"""In the folder `front`: what retraining with new seeds found."""


def front_of(directory: StudyDirectory, trials: Iterable[TrialSummary] | None = None) -> Front:
    """The front of a study's complete trials on validation. ValueError when no trial is complete yet.

    Trials are read one after another: thousands of them with all their epochs would be held at once for nothing.
    """
    study_file = directory.read_study_file()
    confirmed = read_confirmed(directory)
    spreads = {one["trial"]: _numbers(one["std"]["validation"]) for one in confirmed["trials"]}
    runs = read_object_if_any(directory.path / "mlflow.json").get("runs")
    points = (
        vars(trial)
        | {
            "epochs": len(trial.epochs),
            "run_id": runs.get(trial.trial, "") if isinstance(runs, dict) else "",
            "is_baseline": trial.is_baseline,
            "is_paper_setting": _is_at(trial, study_file.paper_point),
            "spread": spreads.get(trial.trial, {}),
            "within_noise": trial.trial in confirmed["within_noise"],
        }
        for trial in (each_trial(directory) if trials is None else trials)
    )
    return find_front(directory.name, points, study_file.objectives, doubt=_doubt(directory))


def _doubt(directory: StudyDirectory) -> str:
    """Whether the study's models have learned anything, as far as its baseline can tell."""
    folder = directory.trial(BASELINE)
    if summarise_trial(folder, [], alive=False).state != "complete":
        return ""
    return _doubt_of_version(folder / SCORES, (folder / SCORES).stat().st_mtime_ns)


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
    trials, within_noise = found.get("trials"), found.get("within_noise")
    is_whole = (
        isinstance(trials, list)
        and all(map(_is_confirmation, trials))
        and isinstance(within_noise, list)
        and all(isinstance(name, str) for name in within_noise)
    )
    return found if is_whole else {"trials": [], "within_noise": []}


def _is_confirmation(one: Any) -> bool:
    """Whether an entry is a `Confirmation` as it was written, and no other hand's."""
    if not isinstance(one, dict) or not isinstance(one.get("trial"), str) or type(one.get("seeds")) is not int:
        return False
    sides = [one[name].get(split) for name in ("mean", "std") if isinstance(one.get(name), dict) for split in SPLITS]
    limits = one.get("test_intervals")
    return (
        len(sides) == 2 * len(SPLITS)
        and all(isinstance(side, dict) and _are_numbers(side.values()) for side in sides)
        and isinstance(limits, dict)
        and all(isinstance(two, list) and len(two) == 2 and _are_numbers(two) for two in limits.values())
    )


def _are_numbers(values: Iterable[Any]) -> bool:
    return all(isinstance(value, int | float | None) for value in values)


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
