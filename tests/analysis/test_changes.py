import numpy as np
import pytest
from score_tables import score_table

from analysis.changes import Claim, change_of, verdict
from analysis.metrics import Interval, difference
from analysis.tables import Pair

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
        without=[score_table(noise=without, seed=seed) for seed, (without, _) in enumerate(noises)],
        nt=[score_table(noise=nt, seed=seed) for seed, (_, nt) in enumerate(noises)],
        data="a",
    )


def verdict_of(pair: Pair, metric: str, claim: Claim) -> str:
    return verdict(change_of(pair, "test", metric), claim)


def test_a_clear_gain_holds_under_every_attack_and_for_the_gradient() -> None:
    pair = pair_of((9.0, 2.0))
    for name, claim in CLAIMS.items():
        assert verdict_of(pair, name, claim) == "holds", name
    assert verdict_of(pair, "srocc", "falls") == "undecided", "the clean scores are the same"
    assert change_of(pair, "test", "srocc") == Interval(value=0.0, low=0.0, high=0.0)


def test_a_loss_does_not_hold_and_no_difference_is_undecided() -> None:
    assert verdict_of(pair_of((2.0, 9.0)), "rmse_attacked", "falls") == "does not hold"
    assert {verdict_of(pair_of((4.0, 4.0)), name, claim) for name, claim in CLAIMS.items()} == {"undecided"}


@pytest.mark.parametrize(
    ("claim", "low", "high", "expected"),
    [
        ("falls", -2.0, -1.0, "holds"),
        ("falls", 1.0, 2.0, "does not hold"),
        ("rises", 1.0, 2.0, "holds"),
        ("rises", -2.0, -1.0, "does not hold"),
        ("falls", -1.0, 2.0, "undecided"),
        ("rises", np.nan, np.nan, "undecided"),
    ],
)
def test_the_verdict_follows_the_side_of_the_interval(claim: Claim, low: float, high: float, expected: str) -> None:
    assert verdict(Interval(value=0.5, low=low, high=high), claim) == expected


def test_one_seed_is_compared_over_the_same_images() -> None:
    pair = pair_of((9.0, 2.0))
    assert change_of(pair, "test", "rmse_attacked") == difference(pair.without[0], pair.nt[0], "test", "rmse_attacked")


def test_several_seeds_are_compared_one_by_one() -> None:
    clear = change_of(pair_of((9.0, 2.0), (8.0, 2.5), (9.5, 1.5)), "test", "rmse_attacked")
    assert clear.low < clear.value < clear.high < 0
    drifting = pair_of((9.0, 8.0), (6.0, 5.0), (3.0, 2.0))
    assert verdict_of(drifting, "rmse_attacked", "falls") == "holds", (
        "seeds differ more than NT changes, but every seed changes alike"
    )
    uneven = pair_of((9.0, 2.0), (8.0, 2.5))
    one_sided = Pair(baseline="hyperiqa", without=uneven.without[:1], nt=uneven.nt, data="a")
    expected = difference(uneven.without[0], uneven.nt[0], "test", "rmse_attacked")
    assert change_of(one_sided, "test", "rmse_attacked") == expected, "one seed in common is compared over images"
