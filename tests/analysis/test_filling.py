"""Which mixture is measured next: the widest promise first, no path with a barrier, and an end to it."""

from __future__ import annotations

from analysis.filling import BARRIER, SMALLEST_GAIN, most_promising, paths
from analysis.front import TrialPoint, find_front
from trainables.config import BASELINE, Mixture

OBJECTIVES = ("srocc", "rmse_attacked")


def point(trial: str, srocc: float, rmse: float, lam: float = 1e-3) -> TrialPoint:
    values = {"srocc": srocc, "rmse_attacked": rmse}
    mixture = Mixture.named(trial)
    return TrialPoint(
        trial=trial,
        lam=0 if trial == BASELINE else lam,
        step_size=0.01,
        validation=values,
        test=values,
        parents=mixture.parents if mixture else (),
        weight=mixture.weight if mixture else None,
    )


ENDS = [point(BASELINE, 0.75, 20.0), point("t000", 0.55, 2.0)]


def test_a_path_begins_in_its_middle_and_goes_on_where_most_is_open() -> None:
    assert [one.name for one in most_promising(ENDS, OBJECTIVES, count=3)] == ["baseline~t000@0.5"]
    known = [*ENDS, point("baseline~t000@0.5", 0.74, 5.0)]
    # Between 20 and 5 the accuracy is nearly level, so the robust half leaves more open in its 0.19 of SROCC.
    assert {one.weight for one in most_promising(known, OBJECTIVES, count=3)} == {0.25, 0.75}


def test_a_path_whose_middle_is_worse_than_both_ends_is_left_alone() -> None:
    blocked = [*ENDS, point("baseline~t000@0.5", 0.55 - BARRIER - 0.01, 4.0)]
    assert most_promising(blocked, OBJECTIVES, count=3) == []
    assert paths(blocked, OBJECTIVES)[0].is_blocked
    sagging = [*ENDS, point("baseline~t000@0.5", 0.55, 4.0)]
    assert most_promising(sagging, OBJECTIVES, count=3)


def test_neighbours_are_mixed_and_the_two_ends_and_no_dominated_trial() -> None:
    points = [*ENDS, point("t001", 0.7, 6.0), point("t002", 0.5, 7.0)]
    ends = [tuple(end.trial for end in path.ends) for path in paths(points, OBJECTIVES)]
    assert ends == [(BASELINE, "t001"), ("t000", "t001"), (BASELINE, "t000")]


def test_what_failed_is_not_asked_for_again_and_filling_ends_when_little_is_left() -> None:
    assert most_promising(ENDS, OBJECTIVES, count=3, tried={"baseline~t000@0.5"}) == []
    near = [point(BASELINE, 0.75, 2.0 + 40 * SMALLEST_GAIN), point("t000", 0.7495, 2.0)]
    assert most_promising(near, OBJECTIVES, count=3) == []
    assert most_promising([], OBJECTIVES, count=3) == []
    measured = list(ENDS)
    for _ in range(200):
        wanted = most_promising(measured, OBJECTIVES, count=1)
        if not wanted:
            break
        share = wanted[0].weight
        measured.append(point(wanted[0].name, 0.75 - 0.2 * share**3, 2 + 18 * (1 - share) ** 3))
    assert not wanted
    assert len(measured) < 40


def test_a_front_says_which_of_its_members_are_mixtures() -> None:
    made = point("baseline~t000@0.25", 0.74, 9.0)
    front = find_front("study", [vars(one) | {"state": "complete"} for one in [*ENDS, made]]).to_dict()
    kinds = {member["trial"]: member["kind"] for member in front["front"]}
    assert kinds == {BASELINE: "trial", "baseline~t000@0.25": "mixture", "t000": "trial"}
    assert front["front"][1]["parents"] == [BASELINE, "t000"]
    assert front["front"][1]["weight"] == 0.25
