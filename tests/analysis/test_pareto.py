import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis import pareto

# A coarse grid, so that ties and duplicates are the rule; lopsided, so that an argsort does not pass for a rank.
LEVELS = st.sampled_from([-7.0, 0.0, 0.125, 0.5, 3.0, 1e6])


def losses(objectives: int, min_size: int = 1) -> st.SearchStrategy[np.ndarray]:
    shape = st.tuples(st.integers(min_size, 12), st.just(objectives))
    return shape.flatmap(lambda wanted: arrays(float, wanted, elements=LEVELS))


either = st.one_of(losses(2), losses(3))


def brute_force(table: np.ndarray) -> np.ndarray:
    """No point is at least as good everywhere and better somewhere."""
    return np.array([not any((other <= row).all() and (other < row).any() for other in table) for row in table])


@given(either)
def test_non_dominated_equals_brute_force(table):
    assert pareto.non_dominated(table).tolist() == brute_force(table).tolist()


@given(either)
def test_fronts_peel_the_set_layer_by_layer(table):
    rank = pareto.fronts(table)
    for layer in range(rank.max() + 1):
        remaining = rank >= layer
        assert (brute_force(table[remaining]) == (rank[remaining] == layer)).all()


@given(either, st.randoms(use_true_random=False))
def test_row_order_does_not_matter(table, random):
    order = list(range(len(table)))
    random.shuffle(order)
    shuffled = table[order]
    assert (pareto.non_dominated(shuffled) == pareto.non_dominated(table)[order]).all()
    assert (pareto.fronts(shuffled) == pareto.fronts(table)[order]).all()
    assert (pareto.within_noise(shuffled, 0.5) == pareto.within_noise(table, 0.5)[order]).all()
    np.testing.assert_allclose(pareto.crowding(shuffled), pareto.crowding(table)[order])
    assert (shuffled[pareto.knee(shuffled)] == table[pareto.knee(table)]).all()
    reference = np.full(table.shape[1], 4.0)
    assert pareto.hypervolume(shuffled, reference) == pytest.approx(pareto.hypervolume(table, reference))


@given(either)
def test_the_knee_is_on_the_front_and_ignores_affine_changes_of_unit(table):
    knee = pareto.knee(table)
    assert pareto.non_dominated(table)[knee]
    assert (table[pareto.knee(table * 4.0 + 8.0)] == table[knee]).all()


def test_the_knee_is_where_the_front_bends():
    bent = np.array([[0.0, 20.0], [0.02, 5.0], [0.04, 4.5], [0.11, 2.6], [0.03, 30.0]])
    assert pareto.knee(bent) == 1
    assert pareto.knee(np.array([[3.0, 1.0]])) == 0
    assert pareto.knee(np.array([[2.0, 1.0], [1.0, 2.0]])) == 1, "a tie goes to the smaller first loss"


def test_duplicates_stay_on_the_front_together():
    table = np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 3.0], [1.0, 3.0]])
    assert pareto.non_dominated(table).tolist() == [True, True, True, False]
    assert pareto.fronts(table).tolist() == [0, 0, 0, 1]


def test_an_infinitely_good_value_dominates_and_an_infinitely_bad_one_does_not():
    table = np.array([[-np.inf, 1.0], [0.0, 1.0], [np.inf, 0.0]])
    assert pareto.non_dominated(table).tolist() == [True, False, True]


def test_no_points_at_all():
    nothing = np.empty((0, 2))
    assert pareto.non_dominated(nothing).shape == (0,)
    assert pareto.fronts(nothing).shape == (0,)
    assert pareto.hypervolume(nothing, [1.0, 1.0]) == 0.0
    with pytest.raises(ValueError, match="at least one point"):
        pareto.knee(nothing)


@given(st.lists(st.floats(0.01, 5.0), min_size=1, max_size=8), st.lists(st.floats(0.01, 5.0), min_size=8, max_size=8))
def test_hypervolume_of_a_staircase_is_its_area(widths, heights):
    """Stairs of known widths and heights down to the corner (0, 0): the area is a sum of rectangles."""
    x = np.concatenate([[0.0], np.cumsum(widths)])
    y = np.concatenate([[0.0], np.cumsum(heights[: len(widths)])])[::-1]
    table = np.column_stack([x[:-1], y[1:]])  # the inner corners, under the reference (x[-1], y[0])
    area = sum((x[-1] - left) * (above - below) for (left, below), above in zip(table, y[:-1], strict=True))
    assert pareto.hypervolume(table, [x[-1], y[0]]) == pytest.approx(area)


@pytest.mark.parametrize("objectives", [2, 3])
def test_hypervolume_equals_monte_carlo(objectives):
    random = np.random.default_rng(5)
    table = random.gamma(0.6, 0.4, size=(9, objectives))
    samples = random.random((40_000, objectives)) * 1.5
    dominated = np.any([(samples >= row).all(axis=1) for row in table], axis=0)
    volume = 1.5**objectives
    error = volume * np.sqrt(dominated.mean() * (1 - dominated.mean()) / len(samples))
    assert pareto.hypervolume(table, [1.5] * objectives) == pytest.approx(dominated.mean() * volume, abs=4 * error)


@given(either, st.integers(0, 11))
def test_hypervolume_grows_with_points_and_ignores_dominated_ones(table, removed):
    reference = np.full(table.shape[1], 4.0)
    fewer = np.delete(table, removed % len(table), axis=0)
    assert pareto.hypervolume(fewer, reference) <= pareto.hypervolume(table, reference) * (1 + 1e-12)
    front = table[pareto.non_dominated(table)]
    assert pareto.hypervolume(front, reference) == pytest.approx(pareto.hypervolume(table, reference))


def test_points_beyond_the_reference_add_nothing():
    assert pareto.hypervolume([[1.0, 1.0], [0.0, 9.0], [np.inf, 0.0]], [2.0, 3.0]) == 2.0


@given(losses(2))
def test_as_losses_turned_twice_gives_the_values_back(values):
    directions = ["maximize", "minimize"]
    turned = pareto.as_losses(values, directions)
    assert (turned[:, 0] == -values[:, 0]).all() and (turned[:, 1] == values[:, 1]).all()
    assert (pareto.as_losses(turned, directions) == values).all()


@pytest.mark.parametrize(
    ("values", "directions", "message"),
    [
        ([[1.0, 2.0], [np.nan, 0.0]], ["maximize", "minimize"], "row 1 has a NaN"),
        ([[1.0, 2.0]], ["maximize", "max"], "'max'"),
        ([[1.0, 2.0]], ["maximize"], "2 objective columns but 1 directions"),
        ([1.0, 2.0], ["maximize"], "shape"),
    ],
)
def test_bad_values_are_refused(values, directions, message):
    with pytest.raises(ValueError, match=message):
        pareto.as_losses(values, directions)


def test_nan_never_enters_a_front():
    table = np.array([[1.0, np.nan], [0.0, 0.0]])
    for function in (pareto.non_dominated, pareto.fronts, pareto.crowding, pareto.knee):
        with pytest.raises(ValueError, match="row 0 has a NaN"):
            function(table)


def test_reference_points_are_the_worst_values_worth_anything():
    assert pareto.reference_point(["srocc", "rmse_attacked", "rmse_attacked/uap"]) == [0.0, 50.0, 50.0]
    with pytest.raises(ValueError, match="seconds"):
        pareto.reference_point(["seconds"])


def test_crowding_on_a_lopsided_front():
    table = np.array([[0.0, 8.0], [1.0, 4.0], [6.0, 1.0], [10.0, 0.0]])
    assert pareto.crowding(table).tolist() == [np.inf, 6 / 10 + 7 / 8, 9 / 10 + 4 / 8, np.inf]
    assert pareto.crowding(np.array([[2.0, 5.0]])).tolist() == [np.inf]


@given(either, st.sampled_from([0.0, 0.25, 2.0]))
def test_a_point_within_noise_is_one_that_a_gain_of_the_noise_puts_on_the_front(table, noise):
    mask = pareto.within_noise(table, noise)
    for row, expected in zip(table, mask, strict=True):
        with_gain = np.vstack([table, row - noise])
        assert brute_force(with_gain)[-1] == expected
    assert (mask | ~pareto.non_dominated(table)).all()
    if noise == 0:
        assert (mask == pareto.non_dominated(table)).all()


@given(losses(3, min_size=2))
def test_epsilon_dominance_without_noise_is_weak_dominance_and_noise_only_removes(table):
    first, second = table[:2]
    assert pareto.epsilon_dominates(first, second, 0.0) == bool((first <= second).all())
    if pareto.epsilon_dominates(first, second, [0.5, 0.0, 3.0]):
        assert pareto.epsilon_dominates(first, second, 0.0)
    with pytest.raises(ValueError, match="noise"):
        pareto.epsilon_dominates(first, second, -1.0)


def test_attainment_of_three_lopsided_seeds():
    seeds = np.array(["b", "a", "c", "a"])
    table = np.array([[1.0, 6.0], [2.0, 2.0], [5.0, 5.0], [0.0, 9.0]])
    assert pareto.attainment(table, seeds, percent=1).tolist() == [[0.0, 9.0], [1.0, 6.0], [2.0, 2.0]]
    assert pareto.attainment(table, seeds, percent=100).tolist() == [[5.0, 6.0]]
    median = pareto.attainment(table, seeds, percent=50)
    assert median.tolist() == [[1.0, 9.0], [2.0, 6.0], [5.0, 5.0]]


@settings(max_examples=30)
@given(losses(2, min_size=3), st.integers(0, 2**31))
def test_each_attained_point_is_reached_by_enough_seeds(table, seed):
    seeds = np.random.default_rng(seed).integers(0, 3, len(table))
    labels = np.unique(seeds)
    for percent in (1.0, 50.0, 100.0):
        for point in pareto.attainment(table, seeds, percent):
            attained = sum((table[seeds == label] <= point).all(axis=1).any() for label in labels)
            assert attained >= percent / 100 * len(labels)


@pytest.mark.parametrize("objectives", [2, 3])
def test_a_hundred_thousand_points_take_less_than_a_second(objectives):
    table = np.random.default_rng(3).random((100_000, objectives)) ** 2
    seconds = []
    for function in (pareto.non_dominated, pareto.fronts):
        start = time.process_time()
        function(table)
        seconds.append(time.process_time() - start)
    start = time.process_time()
    pareto.hypervolume(table, np.ones(objectives))
    seconds.append(time.process_time() - start)
    assert max(seconds) < 1.0


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9, unique=True))
def test_a_two_objective_front_falls_from_left_to_right(first):
    random = np.random.default_rng(len(first))
    table = np.column_stack([first, random.normal(size=len(first)) ** 3])
    front = table[pareto.non_dominated(table)]
    front = front[np.argsort(front[:, 0])]
    assert all(right[1] < left[1] for left, right in pairwise(front))
