"""Two studies against each other: what differs, with intervals over the same photographs, and the verdict."""

from __future__ import annotations

import pandas as pd
import pytest
from written_study import score_table

from analysis.front import Front, find_front
from analysis.versus import differences, members, verdict
from trainables.objectives import measure


def study(name: str, strength: float, noise: float, doubt: str = "") -> tuple[Front, dict[str, pd.DataFrame]]:
    """A study of one trial beside its baseline; `strength` is how far the attack moves scores, `noise` their error."""
    tables = {"baseline": score_table(1, 40.0, noise), "t000": score_table(2, strength, noise)}
    trials = [
        {
            "trial": trial,
            "state": "complete",
            "lam": 0.0 if trial == "baseline" else 1e-3,
            "step_size": 0.01,
            "is_baseline": trial == "baseline",
            **{split: measure(table, split) for split in ("validation", "test")},
        }
        for trial, table in tables.items()
    ]
    return find_front(name, trials, doubt=doubt), tables


def test_the_more_robust_study_is_better_where_its_interval_leaves_zero_out() -> None:
    (weak, weak_tables), (strong, strong_tables) = study("weak", 20.0, 5.0), study("strong", 2.0, 5.0)
    found = differences(weak, strong, weak_tables, strong_tables)
    assert {one.role for one in found} == {"knee", "most accurate", "most robust"}
    robust = next(one for one in found if (one.role, one.name) == ("most robust", "rmse_attacked"))
    assert robust.change.high < 0 and robust.better == 2
    accurate = next(one for one in found if (one.role, one.name) == ("most robust", "srocc"))
    assert accurate.better == 0 and accurate.change.low <= 0 <= accurate.change.high
    said = verdict(weak, strong, found)
    assert said.startswith("strong is better in attacked RMSE") and "undecided" in said and "weak is" not in said
    back = differences(strong, weak, strong_tables, weak_tables)
    assert [one.better for one in back] == [{0: 0, 1: 2, 2: 1}[one.better] for one in found]
    assert set(members(weak)) <= set(weak_tables)


def test_the_same_study_cannot_be_told_apart_and_a_doubtful_one_gets_no_verdict() -> None:
    front, tables = study("one", 5.0, 5.0)
    found = differences(front, front, tables, tables)
    assert "cannot be told apart" in verdict(front, front, found)
    doubtful, _ = study("other", 5.0, 5.0, doubt="not better than chance")
    assert verdict(front, doubtful, found).startswith("no verdict: other")


def test_other_images_are_refused() -> None:
    front, tables = study("one", 5.0, 5.0)
    fewer = {trial: table[table["image"] != "test-0.png"] for trial, table in tables.items()}
    with pytest.raises(ValueError, match="different images"):
        differences(front, front, tables, fewer)
