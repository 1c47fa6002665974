"""One contract: every sampler on every kind of axis gives points that a trial can be made of."""

from __future__ import annotations

from typing import get_args

import optuna
import pytest

from search_spaces.schema import Range, Sampler, load_study_file
from study.search.samplers import SAMPLERS, distributions, grid_of

TRIALS = 4
KINDS = {
    "plain": Range(low=0.0, high=0.5),
    "logarithmic": Range(low=1e-4, high=1e-1, log=True),
    "whole": Range(low=8, high=12, integer=True),
    "whole and logarithmic": Range(low=2, high=64, log=True, integer=True),
    "two whole numbers": Range(low=8, high=9, integer=True),
}
"""Of the axis beside λ and h; λ's own may begin at 0."""


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_points_lie_on_their_axes(sampler: Sampler, kind: str) -> None:
    axis = KINDS[kind]
    name = "batch_size" if axis.integer else "weight_decay"
    space = {
        "lam": {"low": 0.0, "high": 1e-2, "log": False}
        if kind == "plain"
        else {"low": 1e-6, "high": 1e-2, "log": True},
        "step_size": {"low": 1e-3, "high": 1e-1, "log": True},
        name: axis.model_dump(),
    }
    study_file = load_study_file(
        "hyperiqa", overrides={"space": space, "first_points": [], "sampler": sampler, "trials": TRIALS}
    )
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=SAMPLERS[sampler](0, study_file))
    found = []
    for _ in range(TRIALS):
        trial = study.ask(dict(distributions(study_file.space)))
        found.append(dict(trial.params))
        study.tell(trial, [0.9 - trial.params["lam"], 1 / (1 + 1000 * trial.params["lam"])])
    for point in found:
        assert all(study_file.space[key].low <= value <= study_file.space[key].high for key, value in point.items())
        stage = study_file.trial_config("t000", point).stages[-1]
        assert type(getattr(stage, name)) is (int if axis.integer else float)
        assert getattr(stage, name) == point[name]


@pytest.mark.parametrize("trials", [2, 7, 12, 40])
def test_a_grid_has_whole_numbers_each_once(trials: int) -> None:
    for axis in KINDS.values():
        space = {"batch_size": axis, "lam": Range(low=1e-6, high=1e-2, log=True)}
        values = grid_of(space, trials)
        assert all(len(set(of_axis)) == len(of_axis) for of_axis in values.values())
        if axis.integer:
            assert all(isinstance(value, int) for value in values["batch_size"])
        assert [values["batch_size"][0], values["batch_size"][-1]] == pytest.approx([axis.low, axis.high])
    short = grid_of({"lam": Range(low=0, high=1), "batch_size": KINDS["two whole numbers"]}, 40)
    assert len(short["lam"]) == 20 and short["batch_size"] == [8, 9]


def test_a_point_that_a_person_wrote_is_as_whole_as_its_axis() -> None:
    space = {"lam": {"low": 1e-6, "high": 1e-2}, "step_size": {"low": 1e-3, "high": 1e-1}}
    point = {"lam": "1e-3", "step_size": "1/100", "batch_size": 32.0}
    overrides = {"space": space | {"batch_size": {"low": 16, "high": 64, "integer": True}}, "first_points": [point]}
    study_file = load_study_file("hyperiqa", overrides=overrides)
    stage = study_file.trial_config("t000", study_file.first_points[0]).stages[-1]
    assert type(stage.batch_size) is int and stage.batch_size == 32
    with pytest.raises(ValueError, match=r"batch_size = 32\.5 is not whole"):
        load_study_file("hyperiqa", overrides=overrides | {"first_points": [point | {"batch_size": 32.5}]})
    with pytest.raises(ValueError, match="begins and ends at whole numbers"):
        Range(low=1.5, high=3, integer=True)
