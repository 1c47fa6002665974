import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from score_tables import score_table

import trainables.metrics
from analysis import metrics, resampling
from trainables.objectives import measure


def test_values_are_those_of_the_objectives():
    scores = score_table()
    expected = measure(scores, "test")
    for name in expected:
        if name != "rmse_attacked_worst":
            exact = 1e-5 if "fitted" in name else 1e-6  # a fit is given to six digits
            assert metrics.value(scores, "test", name) == pytest.approx(expected[name], rel=exact, nan_ok=True), name


@pytest.mark.parametrize("name", ["rmse_attacked", "srocc", "krocc_mos_attacked", "r_robustness/uap", "gradient_l1"])
def test_the_interval_holds_the_value_and_is_the_same_each_time(name):
    scores = score_table()
    found = metrics.interval(scores, "test", name, resamples=300)
    assert found.low < found.value < found.high
    assert found == metrics.interval(scores, "test", name, resamples=300)
    wider = metrics.interval(scores, "test", name, resamples=300, level=0.99)
    assert wider.low <= found.low and found.high <= wider.high


def of_photographs(norms: list[list[float]]) -> pd.DataFrame:
    """A table whose gradient norms are those given: a list for each photograph, an image each."""
    scores = score_table(sum(map(len, norms)), attacks=("fgsm",))
    scores["content"] = [f"photo{photo}" for photo, images in enumerate(norms) for _ in images]
    return scores.assign(gradient_l1=[norm for images in norms for norm in images])


@pytest.mark.parametrize("name", ["srocc", "plcc", "krocc", "rmse"])
def test_many_resamples_at_once_are_those_of_one_by_one(name):
    random = np.random.default_rng(8)
    y, f = random.integers(0, 6, (2, 30)).astype(float)  # heavy ties
    weights, which = resampling.draws(tuple(f"photo{index % 7}" for index in range(30)), 50, seed=1)
    drawn = [np.repeat(np.arange(30), row.astype(int)) for row in weights]
    metric = getattr(trainables.metrics, name)
    expected = [metric(y[draw], f[draw]) for draw in drawn]
    np.testing.assert_allclose(getattr(resampling, name)(y, f, weights), expected, rtol=1e-12)
    assert len(which) == 50 and which.max() < len(weights)


def test_images_of_one_photograph_are_drawn_together_so_copies_are_no_evidence():
    once = of_photographs([[3.0], [5.0], [4.0], [9.0], [7.0]])
    copied = of_photographs([[norm] * 16 for norm in (3.0, 5.0, 4.0, 9.0, 7.0)])
    expected = metrics.interval(once, "test", "gradient_l1")
    found = metrics.interval(copied, "test", "gradient_l1")
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))


def test_over_photographs_the_interval_of_a_mean_is_student_s():
    norms = [3.0, 5.0, 4.0, 9.0, 7.0]
    found = metrics.interval(of_photographs([[norm] for norm in norms]), "test", "gradient_l1", resamples=20000)
    half = 2.776 * np.std(norms, ddof=1) / np.sqrt(5)  # t of 4 degrees of freedom
    assert (found.low, found.high) == pytest.approx((5.6 - half, 5.6 + half), rel=0.02)


def test_over_seeds_it_is_student_s_too_and_an_rmse_never_falls_below_zero():
    """All photographs alike, so that only the two seeds differ: 12 ± 12.706 * 2."""
    seeds = [score_table(12, attacks=("fgsm",)) for _ in range(2)]
    for table, change in zip(seeds, (10.0, 14.0), strict=True):
        table["attacked_score"] = table["clean_score"] + change
    found = metrics.mean_interval(seeds, "test", "rmse_attacked")
    assert (found.value, found.low) == (pytest.approx(12.0), 0.0)
    assert found.high == pytest.approx(12 + 12.706 * 2, rel=1e-4)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Five photographs of eight images that share most of their norm."""
    random = np.random.default_rng(0)
    covered, studies = 0, 200
    for _ in range(studies):
        shared = random.normal(100, 10, (5, 1)) + random.normal(0, 3, (5, 8))
        found = metrics.interval(of_photographs(shared.tolist()), "test", "gradient_l1", level=0.9, resamples=200)
        covered += found.low <= 100 <= found.high
    assert covered / studies == pytest.approx(0.9, abs=0.06)


def test_more_images_give_a_narrower_interval():
    few, many = (metrics.interval(score_table(count), "test", "rmse_attacked") for count in (20, 500))
    assert many.high - many.low < (few.high - few.low) / 2


def test_pairing_finds_a_difference_that_single_intervals_hide():
    first = score_table(60)
    second = first.copy()
    change = first["attacked_score"] - first["clean_score"]
    second["attacked_score"] = first["clean_score"] + 0.9 * change
    one, other = (metrics.interval(table, "test", "rmse_attacked") for table in (first, second))
    assert other.high > one.low, "the single intervals overlap"
    found = metrics.difference([first], [second], "test", "rmse_attacked")
    assert found.value == pytest.approx(other.value - one.value)
    assert found.high < 0


def test_tables_of_different_images_are_not_compared():
    with pytest.raises(ValueError, match=r"different images in split 'test' \(40 and 39\)"):
        metrics.difference([score_table(40)], [score_table(39)], "test", "srocc")


@pytest.mark.parametrize(("photographs", "bounded"), [(1, False), (2, False), (3, True)])
def test_fewer_than_three_photographs_have_a_value_but_no_interval(photographs, bounded):
    found = metrics.interval(score_table(photographs), "test", "rmse_attacked")
    assert np.isfinite(found.value)
    assert np.isfinite([found.low, found.high]).all() == bounded


def test_constant_scores_have_no_correlation_and_no_interval():
    scores = score_table()
    scores["clean_score"] = 50.0
    found = metrics.interval(scores, "test", "srocc")
    assert np.isnan([found.value, found.low, found.high]).all()


def test_unchanged_scores_are_infinitely_robust_without_bounds():
    scores = score_table()
    scores["attacked_score"] = scores["clean_score"]
    found = metrics.interval(scores, "test", "r_robustness", resamples=50)
    assert found.value == np.inf and np.isnan([found.low, found.high]).all()


def test_a_missing_attack_and_an_unknown_metric_are_named():
    scores = score_table()
    with pytest.raises(ValueError, match=r"attack 'kor' \(attacks: fgsm, uap\)"):
        metrics.interval(scores, "test", "rmse_attacked/kor")
    with pytest.raises(ValueError, match="unknown objective 'sroc'"):
        metrics.interval(scores, "test", "sroc")
    with pytest.raises(ValueError, match="maximum over attacks"):
        metrics.interval(scores, "test", "rmse_attacked_worst")


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from(["srocc", "krocc", "srocc_attacked", "krocc_mos_attacked"]))
def test_rank_metrics_do_not_see_a_monotone_map_of_the_scores(seed, name):
    scores = score_table(25, seed=seed)
    mapped = scores.assign(
        clean_score=np.exp(scores["clean_score"] / 30), attacked_score=np.exp(scores["attacked_score"] / 30)
    )
    assert metrics.value(mapped, "test", name) == pytest.approx(metrics.value(scores, "test", name), abs=1e-12)


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(random):
    scores = score_table(15)
    order = list(range(len(scores)))
    random.shuffle(order)
    shuffled = scores.iloc[order]
    found, expected = (metrics.interval(table, "test", "srocc", resamples=50) for table in (shuffled, scores))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
