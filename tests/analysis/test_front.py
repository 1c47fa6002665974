import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.front import find_front


def trial(name: str, srocc: float, rmse: float, test: tuple[float, float] = (0.5, 9.0), **more: Any) -> dict[str, Any]:
    return {
        "trial": name,
        "lam": 1e-4,
        "step_size": 0.01,
        "state": "complete",
        "validation": {"srocc": srocc, "rmse_attacked": rmse},
        "test": {"srocc": test[0], "rmse_attacked": test[1]},
        **more,
    }


TRIALS = [
    trial("t002", 0.70, 2.0),
    trial("baseline", 0.80, 20.0, lam=0.0, is_baseline=True),
    trial("t001", 0.60, 3.0, test=(0.99, 0.1)),  # dominated on validation, whatever the test rows say
    trial("t000", 0.78, 4.0),
]


def test_members_run_from_the_most_accurate_to_the_most_robust_on_validation():
    front = find_front("demo", TRIALS)
    assert [point.trial for point in front.members] == ["baseline", "t000", "t002"]
    assert [point.trial for point in front.dominated] == ["t001"]
    assert (front.most_accurate.trial, front.knee.trial, front.most_robust.trial) == ("baseline", "t000", "t002")
    assert front.baseline is not None and front.baseline.trial == "baseline"
    # Three rectangles under (SROCC 0, RMSE 50): widths 50 - 20, 20 - 4, 4 - 2.
    assert front.hypervolume == pytest.approx(0.80 * 30 + 0.78 * 16 + 0.70 * 2)


def test_a_table_shows_the_members_and_the_baseline_each_with_all_it_is():
    front = find_front("demo", [*TRIALS, trial("t003", 0.82, 1.0, is_paper_setting=True)])
    assert {point.trial: front.roles(point) for point in front.shown} == {
        "t003": ["knee", "most accurate", "most robust", "the paper's λ and h"],
        "baseline": ["λ = 0", "dominated"],
    }
    front = find_front("demo", TRIALS)
    assert front.shown == front.members and front.roles(front.members[0]) == ["most accurate", "λ = 0"]


def test_the_dictionary_is_what_the_command_line_promises():
    front = find_front("demo", TRIALS).to_dict()
    assert front["study"] == "demo"
    assert front["objectives"] == ["srocc", "rmse_attacked"]
    assert front["directions"] == ["maximize", "minimize"]
    assert [member["trial"] for member in front["front"]] == ["baseline", "t000", "t002"]
    assert set(front["front"][0]) == {"trial", "kind", "lam", "step_size", "validation", "test"}
    assert front["front"][2]["test"] == {"srocc": 0.5, "rmse_attacked": 9.0}
    assert front["baseline"]["lam"] == 0.0
    assert front["knee"] == "t000"
    assert front["reference_point"] == [0.0, 50.0]


def test_undefined_and_infinite_metrics_are_null_in_strict_json():
    odd = trial("t003", 0.9, 1.0)
    odd["validation"] |= {"plcc": math.nan, "r_robustness": math.inf}
    text = json.dumps(find_front("demo", [odd]).to_dict(), allow_nan=False)
    assert json.loads(text)["front"][0]["validation"] == {
        "srocc": 0.9,
        "rmse_attacked": 1.0,
        "plcc": None,
        "r_robustness": None,
    }


def test_only_complete_trials_with_finite_objectives_take_part():
    others = [
        trial("t004", 0.99, 0.1, state="pruned"),
        trial("t005", math.nan, 0.1),
        trial("t006", 0.99, math.inf),
        {"trial": "t007", "lam": 1e-4, "step_size": 0.01, "state": "running", "validation": {}, "test": {}},
    ]
    assert find_front("demo", TRIALS + others) == find_front("demo", TRIALS)


def test_a_study_without_a_finished_trial_says_so():
    with pytest.raises(ValueError, match="study 'demo' has no front yet: none of its trials is complete"):
        find_front("demo", [trial("t000", 0.5, 1.0, state="failed")])


def test_a_trial_that_was_never_measured_on_an_objective_is_named():
    with pytest.raises(ValueError, match="trial t002 was not measured on 'rmse_attacked/uap'"):
        find_front("demo", TRIALS, ["srocc", "rmse_attacked/uap"])
    with pytest.raises(ValueError, match="unknown objective 'scrocc'"):
        odd = trial("t000", 0.5, 1.0) | {"validation": {"scrocc": 1.0, "rmse_attacked": 2.0}}
        find_front("demo", [odd], ["scrocc", "rmse_attacked"])


def test_objectives_keep_their_own_direction():
    robust = [
        trial("a", 0.5, 1.0) | {"validation": {"rmse": 12.0, "r_robustness": 1.5, "gradient_l1": 100.0}},
        trial("b", 0.5, 1.0) | {"validation": {"rmse": 9.0, "r_robustness": 0.5, "gradient_l1": 900.0}},
        trial("c", 0.5, 1.0) | {"validation": {"rmse": 13.0, "r_robustness": 1.4, "gradient_l1": 50.0}},
        trial("d", 0.5, 1.0) | {"validation": {"rmse": 13.0, "r_robustness": 1.4, "gradient_l1": 50.5}},
    ]
    front = find_front("three", robust, ["rmse", "r_robustness", "gradient_l1"])
    assert [point.trial for point in front.members] == ["b", "a", "c"]
    assert (front.most_accurate.trial, front.most_robust.trial) == ("b", "a")


@given(st.permutations(TRIALS), st.floats(0.1, 0.9), st.floats(5.0, 90.0))
def test_neither_the_order_of_trials_nor_a_test_metric_changes_the_choice(trials, srocc, rmse):
    changed = [one | {"test": {"srocc": srocc, "rmse_attacked": rmse}} for one in trials]
    front, expected = find_front("demo", changed), find_front("demo", TRIALS)
    assert [point.trial for point in front.members] == [point.trial for point in expected.members]
    assert (front.knee.trial, front.hypervolume) == (expected.knee.trial, expected.hypervolume)


def test_a_reference_point_of_ones_own():
    front = find_front("demo", TRIALS, reference_point=[0.7, 10.0])
    assert front.hypervolume == pytest.approx((0.78 - 0.70) * (10.0 - 4.0))
    assert front.reference_point == (0.7, 10.0)
