"""How the next point of a study is chosen: samplers by name."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces.schema import Range, StudyFile

Axes = dict[str, FloatDistribution | IntDistribution]

LAST_VALUES = "last_values"
"""Attribute of an Optuna trial: its objectives after its last epoch so far, also when it never got to its end."""
BASELINE_VALUES = "baseline_values"
"""Attribute of an Optuna study: the objectives of the λ=0 baseline, which is none of its trials."""


def distributions(space: dict[str, Range]) -> Axes:
    """The space as Optuna sees it."""
    return {
        name: IntDistribution(int(axis.low), int(axis.high), log=axis.log)
        if axis.integer
        else FloatDistribution(axis.low, axis.high, log=axis.log)
        for name, axis in space.items()
    }


MOST_SEEN = 200
"""Newest finished trials that the Gaussian process is shown: its cost grows with their cube (0.6 s a point at 100)."""


class ParetoGP(BaseSampler):
    """A Gaussian process on expected hypervolume improvement that learns from every epoch, not only from last ones.

    Optuna's GPSampler does the modelling. It is shown errors on a logarithmic scale, where a front's points lie evenly,
    and trials that were stopped early or still run with the values they have so far: after a first epoch these say
    most of what the last one will. The λ=0 baseline stands for the low end of λ, whatever the other parameters, so that
    no trial is spent on what is known. Until `startup` trials have values, points fill the space (scrambled Sobol).
    """

    def __init__(self, seed: int, space: Axes, startup: int = 3) -> None:
        self._space = space
        self._startup = startup
        with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore"):
            self._gp = optuna.samplers.GPSampler(seed=seed, n_startup_trials=0)
            self._fill = optuna.samplers.QMCSampler(seed=seed, scramble=True, warn_asynchronous_seeding=False)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number and t.params]
        seen = [_as_finished(t, values, study.directions) for t in others if (values := _values(t)) is not None]
        if len(seen) < self._startup:
            return self._fill.sample_relative(study, trial, search_space)
        unseen = [
            create_trial(state=TrialState.RUNNING, params=t.params, distributions=t.distributions)
            for t in others
            if t.state == TrialState.RUNNING and _values(t) is None
        ]
        shown = optuna.create_study(directions=study.directions, sampler=self._gp)
        shown.add_trials([*seen[-MOST_SEEN:], *self._at_the_low_end(study), *unseen])
        return shown.ask(search_space).params

    def _at_the_low_end(self, study: Study) -> list[FrozenTrial]:
        values = study.user_attrs.get(BASELINE_VALUES)
        if values is None or "lam" not in self._space:
            return []
        ends = {name: (axis.low, axis.high) for name, axis in self._space.items()}
        corners = itertools.product(*(ends[name][:1] if name == "lam" else ends[name] for name in ends))
        points = [dict(zip(ends, corner, strict=True)) for corner in corners]
        return [
            create_trial(values=_scaled(values, study.directions), params=point, distributions=dict(self._space))
            for point in points
        ]

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._fill.sample_independent(study, trial, param_name, param_distribution)


def _values(trial: FrozenTrial) -> list[float] | None:
    values = trial.values if trial.state == TrialState.COMPLETE else trial.user_attrs.get(LAST_VALUES)
    return values if values is not None and all(math.isfinite(value) for value in values) else None


def _as_finished(trial: FrozenTrial, values: list[float], directions: list[StudyDirection]) -> FrozenTrial:
    return create_trial(values=_scaled(values, directions), params=trial.params, distributions=trial.distributions)


def _scaled(values: list[float], directions: list[StudyDirection]) -> list[float]:
    return [
        math.log(max(value, 1e-9)) if direction == StudyDirection.MINIMIZE else value
        for value, direction in zip(values, directions, strict=True)
    ]


class _Grid(optuna.samplers.GridSampler):
    """Optuna's grid, which without this would stop the study from within when its last point is told."""

    def after_trial(self, *arguments: Any) -> None:
        """Nothing: the study asks for as many trials as it wants."""


def _pareto_gp(seed: int, study_file: StudyFile) -> BaseSampler:
    return ParetoGP(seed, distributions(study_file.space))


def _tpe(seed: int, _: StudyFile) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _nsga2(seed: int, study_file: StudyFile) -> BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=max(4, min(50, study_file.trials // 4)))


def _gp(seed: int, _: StudyFile) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed)


def _qmc(seed: int, _: StudyFile) -> BaseSampler:
    return optuna.samplers.QMCSampler(seed=seed, scramble=True, warn_asynchronous_seeding=False)


def _random(seed: int, _: StudyFile) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _grid(seed: int, study_file: StudyFile) -> BaseSampler:
    """As square a grid as the number of trials allows, evenly spaced on each axis's own scale."""
    points = max(2, round(study_file.trials ** (1 / len(study_file.space))))
    return _Grid({name: grid_values(axis, points) for name, axis in study_file.space.items()}, seed=seed)


def grid_values(axis: Range, points: int) -> list[float]:
    """`points` values from low to high, evenly spaced on the axis's scale."""
    low, high = (math.log(axis.low), math.log(axis.high)) if axis.log else (axis.low, axis.high)
    steps = [low + (high - low) * step / (points - 1) for step in range(points)]
    values = [math.exp(step) if axis.log else step for step in steps]
    return [min(max(value, axis.low), axis.high) for value in values]


SAMPLERS: dict[str, Callable[[int, StudyFile], BaseSampler]] = {
    "pareto_gp": _pareto_gp,
    "tpe": _tpe,
    "nsga2": _nsga2,
    "gp": _gp,
    "qmc": _qmc,
    "random": _random,
    "grid": _grid,
}
"""Name -> sampler from a seed, for a study file; the names are those of `search_spaces.schema.Sampler`."""
