import math

import numpy as np
import pytest
from score_tables import score_table

from analysis.changes import change, change_of, share_taken
from analysis.metrics import Interval, difference
from analysis.tables import Pair
from analysis.verdicts import Claim, correlation_interval, smallest_effect, verdict
from trainables.objectives import OBJECTIVES

CLAIMS: dict[str, Claim] = {
    "rmse_attacked": "falls",
    "srocc_attacked": "rises",
    "r_robustness": "rises",
    "rmse_attacked/uap": "falls",
    "gradient_l1": "falls",
}


def pair_of(*noises: tuple[float, float]) -> Pair:
    """A seed for each (noise without, noise with NT)."""
    return Pair(
        baseline="hyperiqa",
        without=[score_table(80, noise=without, seed=seed) for seed, (without, _) in enumerate(noises)],
        nt=[score_table(80, noise=nt, seed=seed) for seed, (_, nt) in enumerate(noises)],
        data="a",
    )


def verdict_of(pair: Pair, metric: str, claim: Claim) -> str:
    return verdict(change_of(pair, "test", metric), claim, smallest_effect(metric))


def test_a_clear_gain_holds_under_every_attack_and_for_the_gradient() -> None:
    pair = pair_of((9.0, 2.0))
    for name, claim in CLAIMS.items():
        assert verdict_of(pair, name, claim) == "holds", name
    assert verdict_of(pair, "srocc", "falls") == "no effect", "the clean scores are the same"
    assert change_of(pair, "test", "srocc") == Interval(value=0.0, low=0.0, high=0.0)


def test_a_loss_does_not_hold_and_no_difference_is_no_effect() -> None:
    assert verdict_of(pair_of((2.0, 9.0)), "rmse_attacked", "falls") == "does not hold"
    assert {verdict_of(pair_of((4.0, 4.0)), name, claim) for name, claim in CLAIMS.items()} == {"no effect"}


@pytest.mark.parametrize(
    ("claim", "low", "high", "expected"),
    [
        ("falls", -2.0, -1.0, "holds"),
        ("falls", 1.0, 2.0, "does not hold"),
        ("rises", 1.0, 2.0, "holds"),
        ("rises", -2.0, -1.0, "does not hold"),
        ("falls", -1.0, 2.0, "undecided"),
        ("rises", np.nan, np.nan, "undecided"),
        ("rises", 0.001, 0.3, "undecided"),  # above 0, and its middle too small to matter
        ("rises", 1e-5, 3e-5, "no effect"),
        ("falls", -0.19, 0.15, "no effect"),
    ],
)
def test_a_verdict_takes_the_side_of_the_interval_and_a_change_worth_having(
    claim: Claim, low: float, high: float, expected: str
) -> None:
    middle = (low + high) / 2
    assert verdict(Interval(value=middle, low=low, high=high), claim, smallest=0.2) == expected


def test_every_metric_has_a_smallest_change_of_interest() -> None:
    assert all(smallest_effect(name) > 0 for name in OBJECTIVES)
    assert smallest_effect("srocc_mos_attacked/uap") == smallest_effect("krocc") == 0.01
    assert smallest_effect("rmse_attacked") == smallest_effect("mean_abs_change") == 0.5
    assert smallest_effect("gradient_l1") * 0.005 == pytest.approx(0.5), "the FGSM change at the paper's eps"


@pytest.mark.parametrize(("points", "is_decided"), [(4, False), (5, False), (6, True), (30, True)])
def test_a_perfect_order_of_few_trials_decides_nothing_and_never_is_certain(points: int, is_decided: bool) -> None:
    found = correlation_interval(-1.0, points)
    assert found.low == -1.0 < found.high
    assert (found.high < 0) == is_decided
    assert math.isnan(correlation_interval(-1.0, 3).low), "three points have no interval"
    known = correlation_interval(0.6, 28)  # z 0.693 ± 1.96 * sqrt(1.18 / 25)
    assert (known.low, known.high) == pytest.approx((math.tanh(0.2673), math.tanh(1.1190)), abs=1e-3)


def test_one_seed_is_compared_over_the_same_photographs() -> None:
    pair = pair_of((9.0, 2.0))
    assert change_of(pair, "test", "rmse_attacked") == difference(pair.without, pair.nt, "test", "rmse_attacked")


def test_several_seeds_are_compared_one_by_one() -> None:
    clear = change_of(pair_of((9.0, 2.0), (8.0, 2.5), (9.5, 1.5)), "test", "rmse_attacked")
    assert clear.low < clear.value < clear.high < 0
    drifting = pair_of((9.0, 8.0), (6.0, 5.0), (3.0, 2.0))
    assert verdict_of(drifting, "rmse_attacked", "falls") == "holds", (
        "seeds differ more than NT changes, but every seed changes alike"
    )
    uneven = pair_of((9.0, 2.0), (8.0, 2.5))
    one_sided = Pair(baseline="hyperiqa", without=uneven.without[:1], nt=uneven.nt, data="a")
    assert len(change(one_sided, "test", ["rmse_attacked"]).values) == 1, "one seed is in common"


def test_a_relative_cut_is_the_share_that_is_taken_away() -> None:
    without, nt = score_table(), score_table()
    without["attacked_score"] = without["clean_score"] + np.where(without["attack"] == "fgsm", 10.0, 4.0)
    nt["attacked_score"] = nt["clean_score"] + np.where(nt["attack"] == "fgsm", 1.0, 2.0)
    pair = Pair(baseline="hyperiqa", without=[without], nt=[nt], data="a")
    assert share_taken(pair, "test", ["rmse_attacked"]).interval().value == pytest.approx(0.9)
    assert share_taken(pair, "test", ["rmse_attacked", "rmse_attacked/uap"]).interval().value == pytest.approx(
        (0.9 + 0.5) / 2
    )
