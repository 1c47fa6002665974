"""Several defences of one network: who is best at what, with intervals, and when that is not to be said."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from written_study import score_table

from analysis.figures.panel import Points
from analysis.figures.pareto import comparison_panel, pareto_html
from analysis.front import find_front
from analysis.rivals import Answer, Rival, answers, as_markdown, is_of_rivals, to_dict
from trainables.objectives import measure


def rival(
    defence: str, strengths: dict[str, float], *, noise: float = 5.0, passes: int = 10, seeds: int = 0, first: int = 2
) -> Rival:
    """A study of a defence. strengths: trial -> how far the attack moves its scores."""
    tables = {"baseline": score_table(1, 40.0, 5.0)}
    tables |= {trial: score_table(first + place, of, noise) for place, (trial, of) in enumerate(strengths.items())}
    points = [
        {
            "trial": trial,
            "state": "complete",
            "lam": 0.0 if trial == "baseline" else 1e-3,
            "step_size": math.nan,
            "defence": defence,
            "passes": 24 if trial == "baseline" else passes,
            "is_baseline": trial == "baseline",
            **{split: measure(table, split) for split in ("validation", "test")},
        }
        for trial, table in tables.items()
    ]
    retrained = {
        trial: [score_table(100 + seed, of + seed / 10, noise) for seed in range(seeds)]
        for trial, of in strengths.items()
    }
    return Rival(front=find_front(defence, points), tables=tables, retrained=retrained)


def by_measure(found: list[Answer]) -> dict[str, Answer]:
    return {answer.measure: answer for answer in found if "cost" not in answer.question}


def test_a_defence_that_is_clearly_more_robust_is_best_at_equal_accuracy() -> None:
    rivals = [rival("nt", {"t000": 20.0}), rival("trades", {"t000": 4.0})]
    found = by_measure(answers(rivals))
    at_accuracy = found["attacked RMSE"]
    assert [one.name for one in at_accuracy.standings] == ["trades", "nt"]
    assert at_accuracy.verdict == "trades is best"
    leader, other = at_accuracy.standings
    assert leader.behind is None and other.behind is not None and other.behind.low > 0
    assert other.behind.value == pytest.approx(
        rivals[0].front.points[-1].test["rmse_attacked"] - leader.found.value, abs=25
    )
    assert found["worst attacked RMSE"].verdict == "trades is best"


def test_equal_defences_are_not_told_apart() -> None:
    rivals = [rival("nt", {"t000": 5.0}), rival("trades", {"t000": 5.0}, first=9), rival("none", {"t000": 35.0})]
    answer = by_measure(answers(rivals))["attacked RMSE"]
    assert answer.verdict.startswith("no difference shown between") and answer.verdict.endswith("worse: none")


def test_seeds_speak_where_both_were_trained_again() -> None:
    rivals = [rival("nt", {"t000": 9.0}, seeds=3), rival("trades", {"t000": 4.0}, seeds=3)]
    answer = by_measure(answers(rivals))["attacked RMSE"]
    leader, other = answer.standings
    assert (leader.name, leader.seeds, other.seeds) == ("trades", 3, 3)
    changes = [
        measure(mine, "test")["rmse_attacked"] - measure(theirs, "test")["rmse_attacked"]
        for mine, theirs in zip(rivals[0].retrained["t000"], rivals[1].retrained["t000"], strict=True)
    ]
    assert other.behind is not None and other.behind.value == pytest.approx(np.mean(changes))


def test_equal_cost_leaves_out_what_a_dear_defence_trained_later() -> None:
    """Two trials of ten passes against two of forty: the first study's whole search buys none of the second's."""
    cheap = rival("nt", {"t000": 20.0, "t001": 15.0}, noise=1.0, passes=10)
    dear = rival("trades", {"t000": 6.0, "t001": 1.0}, noise=1.0, passes=20)
    found = next(answer for answer in answers([cheap, dear]) if "cost" in answer.question)
    assert "20 passes" in found.question
    assert {one.name: one.trial for one in found.standings}["trades"] == "t000"
    free = by_measure(answers([cheap, dear]))["attacked RMSE"]
    assert {one.name: one.trial for one in free.standings}["trades"] == "t001"


def test_the_control_sets_no_budget() -> None:
    rivals = [rival("none", {"t000": 30.0}, passes=4), rival("nt", {"t000": 20.0}), rival("trades", {"t000": 6.0})]
    assert any("10 passes" in answer.question for answer in answers(rivals))


def test_a_level_that_one_study_misses_is_relaxed_to_what_it_reaches() -> None:
    found = answers([rival("nt", {"t000": 39.0}), rival("trades", {"t000": 1.0})])
    at_robustness = next(answer for answer in found if "equal robustness" in answer.question)
    assert len(at_robustness.standings) == 2


def test_only_studies_of_several_defences_are_asked() -> None:
    nt, again, trades = rival("nt", {"t000": 5.0}), rival("nt", {"t000": 5.0}), rival("trades", {"t000": 5.0})
    assert is_of_rivals([nt.front, trades.front]) and not is_of_rivals([nt.front, again.front])


def test_the_text_and_the_page_hold_every_number() -> None:
    rivals = [rival("nt", {"t000": 20.0}), rival("trades", {"t000": 4.0})]
    found = answers(rivals)
    text = as_markdown(found)
    for answer in found:
        assert answer.question in text and answer.verdict in text
        assert to_dict(answer)["verdict"] == answer.verdict
    page = pareto_html(*(one.front for one in rivals), below="<p>which is best</p>")
    assert "<p>which is best</p>" in page


def test_markers_grow_with_the_passes_of_training() -> None:
    cheap, dear = rival("nt", {"t000": 20.0}, passes=10), rival("trades", {"t000": 4.0}, passes=40)
    layers = comparison_panel([cheap.front, dear.front]).layers
    sizes = {layer.name: np.max(layer.size) for layer in layers if isinstance(layer, Points) and layer.name}
    assert sizes["trades"] == pytest.approx(2 * sizes["nt"])


def test_tables_are_the_only_source() -> None:
    """The same models with other test scores get another answer: nothing is remembered from validation."""
    rivals = [rival("nt", {"t000": 5.0}), rival("trades", {"t000": 4.0})]
    table = rivals[1].tables["t000"]
    worse = table.assign(
        attacked_score=np.where(table["split"] == "test", table["clean_score"] + 30, table["attacked_score"])
    )
    changed = [
        rivals[0],
        Rival(front=rivals[1].front, tables={**rivals[1].tables, "t000": pd.DataFrame(worse)}, retrained={}),
    ]
    assert "did better on test" in by_measure(answers(changed))["attacked RMSE"].verdict
