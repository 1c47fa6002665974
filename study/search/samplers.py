"""How the next point of a study is chosen: samplers by name."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis import pareto
from search_spaces.schema import Range, StudyFile

Axes = dict[str, FloatDistribution | IntDistribution]

LAST_VALUES = "last_values"
"""Attribute of an Optuna trial: its objectives after its last epoch so far, also when it never got to its end."""
BASELINE_VALUES = "baseline_values"
"""Attribute of an Optuna study: the objectives of the λ=0 baseline, which is none of its trials."""
MIXTURE_VALUES = "mixture_values"
"""Attribute of an Optuna study: the objectives of every measured mixture, which are none of its trials either."""


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


class Path(BaseSampler):
    """Ends and middles of a path along λ, all other parameters at the middle of their ranges.

    The robust end comes first: the λ=0 baseline is the other one, and mixtures can fill what lies between. Then the
    middle, in log λ, of the two neighbours that leave most hypervolume open between them. Mixtures that were measured
    close it where the path holds, so the next trial goes where it sags. A trial that still runs counts with the values
    it has so far, or as lying halfway between its neighbours; while nothing is known the widest step in λ is halved.
    """

    def __init__(self, space: Axes) -> None:
        self._space = space
        self._lam = space["lam"]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        point = {name: _middle(axis, axis.low, axis.high) for name, axis in self._space.items()}
        return {**point, "lam": self._next_lam(study, trial)}

    def _next_lam(self, study: Study, trial: FrozenTrial) -> float:
        known = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number and "lam" in t.params]
        known = [t for t in known if t.state in (TrialState.COMPLETE, TrialState.RUNNING, TrialState.PRUNED)]
        lams = {float(t.params["lam"]): _losses(_values(t), study.directions) for t in known}
        if not any(self._is_at_the_end(lam) for lam in lams):
            return self._lam.high
        baseline = study.user_attrs.get(BASELINE_VALUES)
        ends = {**lams, self._lam.low: _losses(baseline, study.directions)} if baseline else lams
        mixed = [_losses(values, study.directions) for values in study.user_attrs.get(MIXTURE_VALUES, [])]
        neighbours = list(itertools.pairwise(_completed(sorted(ends.items()))))
        if not neighbours:
            return _middle(self._lam, self._lam.low, self._lam.high)

        def promise(pair: tuple[_Known, _Known]) -> tuple[float, float]:
            (low, first), (high, second) = pair
            return _open(first, second, mixed), high / low if self._lam.log else high - low

        (low, _), (high, _) = max(neighbours, key=promise)
        return _middle(self._lam, low, high)

    def _is_at_the_end(self, lam: float) -> bool:
        return math.isclose(lam, self._lam.high, rel_tol=1e-6)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        axis = self._space[param_name]
        return _middle(axis, axis.low, axis.high)


def _middle(axis: FloatDistribution | IntDistribution, low: float, high: float) -> float:
    middle = math.sqrt(low * high) if axis.log else (low + high) / 2
    return round(middle) if isinstance(axis, IntDistribution) else middle


Losses = tuple[float, ...] | None
"""Of a trial, each smaller where better and on the scale on which a front's points lie evenly; None: not known yet."""
_Known = tuple[float, tuple[float, ...]]
"""λ and losses."""


def _losses(values: list[float] | None, directions: list[StudyDirection]) -> Losses:
    if values is None:
        return None
    signs = [1 if direction == StudyDirection.MINIMIZE else -1 for direction in directions]
    return tuple(sign * value for sign, value in zip(signs, _scaled(values, directions), strict=True))


def _completed(points: list[tuple[float, Losses]]) -> list[_Known]:
    """Points in the order of λ; the losses that are not known yet lie evenly between their neighbours'."""
    rows = [place for place, (_, losses) in enumerate(points) if losses is not None]
    if not rows:
        return [(lam, (0.0, 0.0)) for lam, _ in points]
    known = np.array([points[row][1] for row in rows], dtype=np.float64)
    columns = [np.interp(range(len(points)), rows, column) for column in known.T]
    return [(lam, tuple(float(column[place]) for column in columns)) for place, (lam, _) in enumerate(points)]


def _open(first: tuple[float, ...], second: tuple[float, ...], mixed: list[Losses]) -> float:
    """The hypervolume between two neighbours' best and worst losses that no mixture dominates."""
    best, worst = np.minimum(first, second), np.maximum(first, second)
    size = float(np.prod(worst - best))
    # A mixture that beats the box takes of it what the box's own corner would.
    inside = [np.maximum(losses, best) for losses in mixed if losses is not None]
    return size - pareto.hypervolume(np.array(inside), worst) if inside else size


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


def _path(seed: int, study_file: StudyFile) -> BaseSampler:
    return Path(distributions(study_file.space))


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
    return _Grid(grid_of(study_file.space, study_file.trials), seed=seed)


def grid_of(space: dict[str, Range], trials: int) -> dict[str, list[float]]:
    """Axis -> its values, about `trials` points in all; what a short integer axis cannot take, the others do."""
    found: dict[str, list[float]] = {}
    wanted = float(trials)
    short_first = sorted(space, key=lambda name: (not space[name].integer, space[name].high - space[name].low))
    for place, name in enumerate(short_first):
        found[name] = grid_values(space[name], max(2, round(wanted ** (1 / (len(space) - place)))))
        wanted = max(1.0, wanted / len(found[name]))
    return found


def grid_values(axis: Range, points: int) -> list[float]:
    """`points` values from low to high, evenly spaced on the axis's scale; of an integer axis whole numbers, each once.

    So there are fewer where an integer axis is short.
    """
    low, high = (math.log(axis.low), math.log(axis.high)) if axis.log else (axis.low, axis.high)
    steps = [low + (high - low) * step / (points - 1) for step in range(points)]
    values = [math.exp(step) if axis.log else step for step in steps]
    return sorted({axis.settle(min(max(value, axis.low), axis.high)) for value in values})


SAMPLERS: dict[str, Callable[[int, StudyFile], BaseSampler]] = {
    "pareto_gp": _pareto_gp,
    "path": _path,
    "tpe": _tpe,
    "nsga2": _nsga2,
    "gp": _gp,
    "qmc": _qmc,
    "random": _random,
    "grid": _grid,
}
"""Name -> sampler from a seed, for a study file; the names are those of `search_spaces.schema.Sampler`."""
