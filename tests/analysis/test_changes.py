import numpy as np
import pytest
from score_tables import score_table

from analysis.changes import Change, change_table, changes
from analysis.metrics import Interval, difference
from analysis.tables import Pair


def pair_of(*noises: tuple[float, float]) -> Pair:
    """A seed for each (noise without, noise with NT)."""
    return Pair(
        baseline="hyperiqa",
        without=[score_table(noise=without, seed=seed) for seed, (without, _) in enumerate(noises)],
        nt=[score_table(noise=nt, seed=seed) for seed, (_, nt) in enumerate(noises)],
        data="a",
    )


def by_metric(pair: Pair) -> dict[str, Change]:
    return {change.metric: change for change in changes(pair, "test")}


def test_a_clear_gain_holds_under_every_attack_and_for_the_gradient():
    found = by_metric(pair_of((9.0, 2.0)))
    for name in ("rmse_attacked", "srocc_attacked", "r_robustness", "rmse_attacked/uap", "gradient_l1"):
        assert found[name].verdict == "holds", name
    assert found["srocc"].verdict == "undecided", "the clean scores are the same"
    assert found["srocc"].difference == Interval(value=0.0, low=0.0, high=0.0)


def test_a_loss_does_not_hold_and_no_difference_is_undecided():
    assert by_metric(pair_of((2.0, 9.0)))["rmse_attacked"].verdict == "does not hold"
    same = by_metric(pair_of((4.0, 4.0)))
    assert {change.verdict for change in same.values()} == {"undecided"}


@pytest.mark.parametrize(
    ("claim", "low", "high", "verdict"),
    [
        ("falls", -2.0, -1.0, "holds"),
        ("falls", 1.0, 2.0, "does not hold"),
        ("rises", 1.0, 2.0, "holds"),
        ("rises", -2.0, -1.0, "does not hold"),
        ("falls", -1.0, 2.0, "undecided"),
        ("rises", np.nan, np.nan, "undecided"),
    ],
)
def test_the_verdict_follows_the_side_of_the_interval(claim, low, high, verdict):
    found = Interval(value=0.5, low=low, high=high)
    assert Change(baseline="b", metric="srocc", claim=claim, difference=found).verdict == verdict


def test_one_seed_is_compared_over_the_same_images():
    pair = pair_of((9.0, 2.0))
    expected = difference(pair.without[0], pair.nt[0], "test", "rmse_attacked")
    assert by_metric(pair)["rmse_attacked"].difference == expected


def test_several_seeds_are_compared_one_by_one():
    clear = by_metric(pair_of((9.0, 2.0), (8.0, 2.5), (9.5, 1.5)))["rmse_attacked"]
    assert clear.verdict == "holds" and clear.difference.low < clear.difference.value < clear.difference.high < 0
    drifting = by_metric(pair_of((9.0, 8.0), (6.0, 5.0), (3.0, 2.0)))["rmse_attacked"]
    assert drifting.verdict == "holds", "seeds differ more than NT changes, but every seed changes alike"
    uneven = pair_of((9.0, 2.0), (8.0, 2.5))
    one_sided = Pair(baseline="hyperiqa", without=uneven.without[:1], nt=uneven.nt, data="a")
    expected = difference(uneven.without[0], uneven.nt[0], "test", "rmse_attacked")
    assert by_metric(one_sided)["rmse_attacked"].difference == expected, "one seed in common is compared over images"


def test_the_table_has_a_row_for_every_claim():
    pair = pair_of((9.0, 2.0))
    table = change_table([pair], "test")
    assert len(table.rows) == len(changes(pair, "test")) == 2 + 3 * 2
    labels = [label for label, _ in table.rows]
    assert "hyperiqa: attacked RMSE, uap falls (holds)" in labels
