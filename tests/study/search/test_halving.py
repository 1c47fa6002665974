"""Successive halving by Pareto rank: who goes on, who never may be stopped, what order and accidents change."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.search.halving import ParetoHalving, best, rung_epochs

LOSSES = ("minimize", "minimize")
Points = list[tuple[float, float]]
values = st.tuples(st.integers(0, 6).map(float), st.integers(0, 6).map(float))


def halving(factor: int = 3, epochs: int = 9) -> ParetoHalving:
    return ParetoHalving(epochs, LOSSES, reduction_factor=factor)


def decisions(halving: ParetoHalving, points: Points, epoch: int = 1) -> list[bool]:
    """Each trial's verdict at the moment it reports."""
    verdicts = []
    for number, point in enumerate(points):
        halving.record(f"t{number}", epoch, point)
        verdicts.append(halving.goes_on(f"t{number}", epoch))
    return verdicts


def is_dominated(point: tuple[float, float], others: Points) -> bool:
    return any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in others)


@pytest.mark.parametrize(
    ("epochs", "grace", "factor", "expected"),
    [(16, 1, 3, [1, 3, 9]), (16, 2, 2, [2, 4, 8]), (4, 1, 4, [1]), (1, 1, 3, []), (3, 5, 2, [])],
)
def test_rungs_lie_at_powers_before_the_last_epoch(epochs: int, grace: int, factor: int, expected: list[int]) -> None:
    assert rung_epochs(epochs, grace, factor) == expected


@given(st.lists(values, min_size=1, max_size=25), st.integers(2, 4))
def test_a_trial_that_none_dominates_always_goes_on(points: Points, factor: int) -> None:
    for number, goes_on in enumerate(decisions(halving(factor), points)):
        if not is_dominated(points[number], points[: number + 1]):
            assert goes_on


@given(st.lists(values, min_size=1, max_size=25), st.integers(2, 4))
def test_of_a_full_rung_the_best_share_and_the_front_go_on(points: Points, factor: int) -> None:
    rung = halving(factor)
    decisions(rung, points)
    kept = [number for number in range(len(points)) if rung.goes_on(f"t{number}", 1)]
    front = [number for number, point in enumerate(points) if not is_dominated(point, points)]
    assert set(front) <= set(kept)
    assert len(kept) == max(len(points) // factor, len(front))
    if len(kept) > len(front):  # nobody is kept while one that dominates it is not
        for number in kept:
            better = [n for n, p in enumerate(points) if p != points[number] and is_dominated(points[number], [p])]
            assert set(better) <= set(kept)


def test_trials_are_dropped_in_the_order_of_their_rank() -> None:
    rung = halving(factor=2)
    assert decisions(rung, [(1, 1), (2, 2), (3, 3), (4, 4)]) == [True, False, False, False]
    assert [rung.goes_on(f"t{number}", 1) for number in range(4)] == [True, True, False, False]


def test_the_rank_at_the_cut_is_thinned_to_its_breadth() -> None:
    """Of four equals behind the front, two go on: the ends of the rank, not two neighbours."""
    front, second = [(0.0, 0.0)], [(1.0, 9.0), (2.0, 8.0), (8.0, 2.0), (9.0, 1.0)]
    losses = np.array(front + second)
    assert best(losses, np.array([0, 1, 1, 1, 1]), 3) == {0, 1, 4}


def test_equal_trials_are_treated_alike() -> None:
    assert decisions(halving(), [(1.0, 1.0)] * 6) == [True] * 6


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_stopped_and_harms_nobody(bad: float) -> None:
    rung = halving()
    assert decisions(rung, [(bad, 0.0), (5.0, 5.0), (0.0, bad)]) == [False, True, False]
    assert "not a number" in rung.standing("t0", 1)


def test_a_second_report_of_the_same_epoch_changes_nothing() -> None:
    """After a failure a trial repeats the epoch that it had not saved."""
    rung = halving(factor=2)
    decisions(rung, [(1, 1), (2, 2)])
    rung.record("t1", 1, (0, 0))
    assert not rung.goes_on("t1", 1)
    assert "1 of the 2 trials that came so far dominate it" in rung.standing("t1", 1)


def test_between_rungs_everybody_goes_on() -> None:
    rung = halving(factor=3)
    rung.record("t0", 1, (0, 0))
    rung.record("t1", 2, (9, 9))
    assert rung.goes_on("t1", 2)


def test_directions_are_turned() -> None:
    rung = ParetoHalving(9, ("maximize", "minimize"), reduction_factor=3)
    assert decisions(rung, [(0.9, 1.0), (0.8, 2.0), (0.95, 3.0)]) == [True, False, True]


@given(st.permutations(range(8)))
def test_the_order_of_arrival_does_not_change_the_full_rung(order: list[int]) -> None:
    """What is rebuilt from folders on a resume decides as what heard the reports."""
    points = [(float(n), float((n * 5) % 8)) for n in range(8)]
    straight, shuffled = halving(2), halving(2)
    for n in range(8):
        straight.record(f"t{n}", 1, points[n])
    for n in order:
        shuffled.record(f"t{n}", 1, points[n])
    for n in range(8):
        assert straight.goes_on(f"t{n}", 1) == shuffled.goes_on(f"t{n}", 1)
