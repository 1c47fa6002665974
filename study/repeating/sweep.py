"""The paper's ablations as studies of fixed points: over λ (Figure 7), over h (Table 4), over the attack (Figure 6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from rich.console import Console

from search_spaces.schema import StudyFile, load_study_file
from study.errors import StudyError
from study.repeating.retrain import retrain
from study.repeating.suite_tasks import attacks_of
from study.running.run import run
from study.storage.directory import StudyDirectory
from study.storage.frozen import grown
from study.storage.summaries import summarise
from trainables.config import BASELINE

Parameter = Literal["lam", "step_size", "intensity"]
POINTS = 5
"""Values of λ or h, evenly on a logarithmic scale over the study's range."""
STEPS = tuple(range(1, 11))
EPS = (0.001, 0.002, 0.005, 0.01, 0.02)
"""Figure 6: I-FGSM of 1 to 10 steps at the probe's budget, and of twenty steps at rising budgets in [0, 1] pixels."""
LOSSES = ("mid", "mae", "mse")
"""Table S2; as released, with the score of the image that skipped normalisation as the reference."""


def sweep_file(
    source: str,
    parameter: Parameter,
    *,
    values: Sequence[float] = (),
    preset: str | None = None,
    overrides: dict[str, Any] | None = None,
) -> StudyFile:
    """The study file of a sweep. The other of λ and h keeps the paper's value for this baseline.

    values: of λ or of h; none: `POINTS` of them over the study's range, the paper's own among them. StudyError for
    values that are not positive, and for any given with `intensity`, which trains the paper's point alone.
    """
    study_file = load_study_file(source, preset=preset, overrides={**(overrides or {}), "mixtures": 0})
    point = study_file.paper_point
    if set(point) != {"lam", "step_size"}:
        raise StudyError(f"a sweep starts from the paper's λ and h, and {source} gives no paper_point with both")
    axes = {name: study_file.space[name] for name in ("lam", "step_size")}
    if parameter == "intensity":
        if values:
            raise StudyError("a sweep of the attack's intensity trains one point and takes no --values")
        points = [dict(point)]
    else:
        axis = axes[parameter]
        chosen = sorted(set(values) or {*np.geomspace(axis.low, axis.high, POINTS), point[parameter]})
        if wrong := [value for value in chosen if not (math.isfinite(value) and value > 0)]:
            raise StudyError(f"--values of {parameter} must be positive numbers, got {wrong[0]:g}")
        points = [{**point, parameter: float(value)} for value in chosen]
    update = {
        "space": {name: axis.model_copy(update=_wide_enough(name, points, axis)) for name, axis in axes.items()},
        "first_points": tuple(points),
        "trials": len(points),
        "scheduler": type(study_file.scheduler)(),
    }
    if parameter == "intensity":
        update |= {"suite": intensity_suite(study_file.attacks["fgsm"]), "full_suite": "all"}
    return study_file.model_copy(update=update)


def intensity_suite(probe: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """I-FGSM over steps and over eps, and one step of each loss, at the probe's budget otherwise."""
    eps = float(probe.get("eps", 0.005))
    ifgsm = {"name": "ifgsm", "alpha": eps / 5}
    return {
        **{f"ifgsm_steps{steps:02d}": {**ifgsm, "eps": eps, "steps": steps} for steps in STEPS},
        **{f"ifgsm_eps{value:g}": {"name": "ifgsm", "alpha": 0.002, "eps": value, "steps": 20} for value in EPS},
        **{f"fgsm_{loss}": {**probe, "loss": loss, "reference": "raw"} for loss in LOSSES},
    }


def sweep(directory: StudyDirectory, seeds: int, console: Console, mlflow: str | None = None) -> bool:
    """Run a sweep's study, then all its trials again with `seeds` - 1 new seeds. Returns whether all is finished.

    What has been finished before is not run again. The full suite runs on every seed of a trial that it ran on.
    """
    if not run(directory, console, mlflow):
        return False
    finished = [trial.trial for trial in summarise(directory) if trial.state == "complete"]
    suite = directory.read_study_file().suite
    attacked = [name for name in finished if suite and set(suite) <= set(attacks_of(directory.trial(name)))]
    members = [name for name in finished if name != BASELINE]
    if not members:
        raise StudyError(f"none of the sweep's trials came to its end; why: {directory.command('status')}")
    return retrain(directory, seeds - 1, members, console, attacked=attacked)


def is_same(launched: StudyFile, now: StudyFile) -> bool:
    """Whether two sweeps are one: on which trials the full suite runs, and further attacks in it, may come later.

    One that began before views lay on a grid goes on as it began.
    """
    later = {"full_suite": now.full_suite, "suite": now.suite, "views": now.views}
    return grown(launched.suite, now.suite) and launched.model_copy(update=later) == now


def _wide_enough(name: str, points: Sequence[dict[str, float]], axis: Any) -> dict[str, float]:
    found = [point[name] for point in points]
    return {"low": min(axis.low, *found), "high": max(axis.high, *found)}
