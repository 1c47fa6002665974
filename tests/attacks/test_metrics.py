"""The paper's metrics, against reference values and their defining properties."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainables import metrics

ARRAYS = dict(np.load(Path(__file__).parent.parent / "golden" / "attacks" / "metrics.npz"))
CASES = sorted({key.split("/")[0] for key in ARRAYS})
Metric = Callable[..., float]
KEYS: dict[Metric, str] = {
    metrics.rmse: "rmse",
    metrics.srocc: "srocc_scipy",
    metrics.plcc: "plcc",
    metrics.krocc: "krocc_tau_b_scipy",
    metrics.r_robustness: "R_log10_eps0",
}
scores = st.lists(st.floats(0, 100), min_size=3, max_size=20)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("metric", KEYS)
def test_reference_values(metric: Metric, case: str) -> None:
    found = metric(ARRAYS[f"{case}/before_or_mos"], ARRAYS[f"{case}/after_or_pred"])
    np.testing.assert_allclose(found, ARRAYS[f"{case}/{KEYS[metric]}"], atol=1e-9, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_r_robustness_with_the_released_guard(case: str) -> None:
    before, after = ARRAYS[f"{case}/before_or_mos"], ARRAYS[f"{case}/after_or_pred"]
    found = metrics.r_robustness(before, after, eps=1e-6)
    np.testing.assert_allclose(found, ARRAYS[f"{case}/R_log10_eps1e-6"], atol=1e-9)
    swapped = metrics.r_robustness(after, before, eps=1e-6)
    np.testing.assert_allclose(swapped, ARRAYS[f"{case}/R_log10_eps1e-6_released_swapped_args"], atol=1e-9)


@given(y=scores, f=scores)
def test_rank_metrics_ignore_monotone_maps(y: list[float], f: list[float]) -> None:
    count = min(len(y), len(f))
    reference, compared = np.round(y[:count], 3), np.round(f[:count], 3)
    for metric in (metrics.srocc, metrics.krocc):
        direct, mapped = metric(reference, compared), metric(np.sqrt(reference), 3 * compared - 7)
        np.testing.assert_allclose(direct, mapped, atol=1e-9)


@given(y=scores)
def test_r_robustness_is_at_least_its_bound(y: list[float]) -> None:
    """Jensen: mean log10(M / d) with M >= 50 is at least log10(50 / RMSE), which rules out the natural logarithm."""
    before = np.array(y)
    after = before + np.linspace(1, 5, len(before))
    assert metrics.r_robustness(before, after) >= math.log10(50 / metrics.rmse(before, after)) - 1e-9


@given(y=scores, scale=st.floats(0.1, 10))
def test_plcc_ignores_scale_and_rmse_does_not(y: list[float], scale: float) -> None:
    reference = np.array(y)
    assume(np.ptp(reference) > 1)
    compared = reference[::-1]
    assert metrics.plcc(reference, scale * compared) == pytest.approx(metrics.plcc(reference, compared), abs=1e-9)
    assert metrics.rmse(reference, reference + scale) == pytest.approx(scale)


def test_edge_cases() -> None:
    constant, varying = [4.0, 4.0, 4.0], [1.0, 2.0, 4.0]
    for metric in (metrics.srocc, metrics.plcc, metrics.krocc):
        assert math.isnan(metric(varying, constant))
        assert math.isnan(metric([1.0], [2.0]))
        assert metric([1.0, 2.0], [5.0, 3.0]) == pytest.approx(-1)
    assert metrics.r_robustness(varying, [1.0, 3.0, 5.0]) == math.inf
    assert metrics.unchanged(varying, [1.0, 3.0, 4.0]) == 2
    assert metrics.r_robustness([90.0], [89.0]) == pytest.approx(math.log10(90))
    assert metrics.r_robustness([0.2], [0.1], low=0, high=1) == pytest.approx(math.log10(8))


@pytest.mark.parametrize(
    ("reference", "compared", "message"),
    [
        ([1.0, math.nan], [1.0, 2.0], "NaN or infinity for 1 of 2"),
        ([1.0, 2.0], [1.0, math.inf], "NaN or infinity"),
        ([1.0, 2.0], [1.0], "equally long"),
        ([], [], "non-empty"),
        ([[1.0, 2.0]], [[1.0, 2.0]], "equally long"),
    ],
)
def test_bad_scores_are_refused(reference: list[float], compared: list[float], message: str) -> None:
    for metric in KEYS:
        with pytest.raises(ValueError, match=message):
            metric(reference, compared)


def test_squeezing_all_scores_lessens_rmse_and_leaves_the_relative_one() -> None:
    random = np.random.default_rng(0)
    clean = random.normal(50, 12, 80)
    attacked = clean + random.normal(0, 6, 80)
    squeezed = [50 + (scores - 50) / 10 for scores in (clean, attacked)]
    assert metrics.rmse(*squeezed) == pytest.approx(metrics.rmse(clean, attacked) / 10)
    expected = metrics.rmse(clean, attacked) / np.std(clean)
    assert metrics.relative_rmse(clean, attacked) == pytest.approx(expected)
    assert metrics.relative_rmse(*squeezed) == pytest.approx(expected)
    assert math.isnan(metrics.relative_rmse(np.full(5, 3.0), np.arange(5.0)))


def test_the_fit_to_mos_undoes_a_monotone_change_of_the_scale() -> None:
    random = np.random.default_rng(1)
    mos = random.uniform(5, 95, 200)
    logits = np.log(mos / (100 - mos))  # a logistic of these is the MOS again
    fitted = metrics.fitted_to(mos, logits)
    np.testing.assert_allclose(fitted(logits), mos, atol=0.5)
    squashed = metrics.fitted_to(mos, 3 * logits + 7)
    np.testing.assert_allclose(squashed(3 * logits + 7), fitted(logits), atol=1e-3)
    assert (np.diff(fitted(np.linspace(-9, 9, 50))) >= 0).all()
    assert np.isnan(metrics.fitted_to(mos, np.full(200, 40.0))(mos)).all(), "constant scores have no map"


def test_the_benchmark_s_measures_by_hand() -> None:
    """Two images, 20 -> 40 and 80 -> 70: MSU's scores are on 0..1, so gains of .2 and -.1 over 1.2 and 1.8."""
    before, after = [20.0, 80.0], [40.0, 70.0]
    assert metrics.absolute_gain(before, after) == pytest.approx((20 - 10) / 2)
    assert metrics.relative_gain(before, after) == pytest.approx((0.2 / 1.2 - 0.1 / 1.8) / 2)
    by_hand = (math.log10(0.8 / (0.2 + 1e-6)) + math.log10(0.8 / (0.1 + 1e-6))) / 2
    assert metrics.robustness_score(before, after) == pytest.approx(by_hand)
    assert metrics.robustness_score(before, before) == pytest.approx(math.log10(0.8 / 1e-6))


def test_an_integral_over_budgets_by_hand() -> None:
    """R of 3, 2 and 1 at budgets 1, 2 and 4, in any order: trapezoids of 2.5 and 3 over a range of 3."""
    assert metrics.integral_robustness([4, 1, 2], [1, 3, 2]) == pytest.approx((2.5 + 3) / 3)
    for budgets in ([0.005], [0.005, 0.005]):
        with pytest.raises(ValueError, match="two or more different ones"):
            metrics.integral_robustness(budgets, [1.0] * len(budgets))
