"""The sampler `path` on a study in memory: its ends, its middles, and what mixtures tell it."""

from __future__ import annotations

import math

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.study import Study

from study.search.samplers import BASELINE_VALUES, MIXTURE_VALUES, Axes, Path

LOW, HIGH = 1e-5, 1e-1
SPACE: Axes = {"lam": FloatDistribution(LOW, HIGH, log=True), "step_size": FloatDistribution(1e-3, 1e-1, log=True)}
MIDDLE = math.sqrt(LOW * HIGH)


@pytest.fixture
def study() -> Study:
    """One whose λ=0 baseline is known: SROCC 0.8, attacked RMSE 16."""
    made = optuna.create_study(directions=["maximize", "minimize"], sampler=Path(SPACE))
    made.set_user_attr(BASELINE_VALUES, [0.8, 16.0])
    return made


def ask(study: Study, values: list[float] | None = None) -> float:
    """λ of the next trial, which ends with `values` or still runs."""
    trial = study.ask({**SPACE})
    if values is not None:
        study.tell(trial, values)
    return float(trial.params["lam"])


def test_the_robust_end_comes_first_with_everything_else_in_the_middle(study: Study) -> None:
    trial = study.ask({**SPACE})
    assert trial.params == {"lam": pytest.approx(HIGH), "step_size": pytest.approx(0.01)}


def test_trials_asked_for_at_once_divide_the_path_evenly(study: Study) -> None:
    asked = [ask(study) for _ in range(4)]
    steps = [(math.log10(lam) - math.log10(LOW)) / (math.log10(HIGH) - math.log10(LOW)) for lam in asked]
    assert sorted(steps) == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_a_middle_goes_where_most_is_open_between_neighbours(study: Study) -> None:
    ask(study, [0.2, 1.0])
    assert ask(study, [0.78, 2.0]) == pytest.approx(MIDDLE), "between the baseline and the end"
    assert ask(study) > MIDDLE, "SROCC falls from 0.78 to 0.2 there, and by 0.02 only before"


def test_mixtures_send_it_where_the_path_sags(study: Study) -> None:
    ask(study, [0.2, 1.0])
    ask(study, [0.78, 2.0])
    filled = [[0.2 + 0.058 * step, 2 ** (step / 100)] for step in range(11)]
    study.set_user_attr(MIXTURE_VALUES, filled)
    assert ask(study) < MIDDLE, "mixtures reach nearly all that could be had above the middle"


def test_without_a_baseline_it_still_has_a_next_point() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=Path(SPACE))
    assert [ask(study, [0.2, 1.0]), ask(study)] == pytest.approx([HIGH, MIDDLE])


def test_three_objectives(study: Study) -> None:
    three = optuna.create_study(directions=["maximize", "minimize", "maximize"], sampler=Path(SPACE))
    three.set_user_attr(BASELINE_VALUES, [0.8, 16.0, 0.8])
    ask(three, [0.2, 1.0, 0.2])
    ask(three, [0.78, 2.0, 0.78])
    assert ask(three) > MIDDLE
