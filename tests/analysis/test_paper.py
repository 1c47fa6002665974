"""The paper's printed tables as data, and its Table S7 made again of Tables 2 and 3 by the code that makes ours."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from score_tables import score_table

from analysis.averages import average_table
from analysis.paper import ATTACKS, paper_averages, paper_values, printed
from analysis.tables import Cell, Pair, attack_table
from trainables.objectives import OBJECTIVES

BASELINES = ("hyperiqa", "dbcnn", "linearityiqa", "maniqa")
IMAGES = 60


def order_with(correlation: float) -> np.ndarray:
    """A permutation whose Spearman correlation with 0, 1, 2, … is that, to 1e-4: swaps that come closer are kept."""
    random, order = np.random.default_rng(0), np.arange(IMAGES)
    left = (1 - correlation) * IMAGES * (IMAGES**2 - 1) / 6  # of the sum of squared differences of ranks
    for first, second in random.integers(0, IMAGES, (3000, 2)):
        gain = 2 * (second - first) * (order[second] - order[first])
        if abs(left - gain) < abs(left):
            order[[first, second]] = order[[second, first]]
            left -= gain
    return order


def as_printed(baseline: str, nt: bool) -> pd.DataFrame:
    """A score table whose RMSE and SROCC of after against before are those that the paper prints."""
    scores = score_table(IMAGES, attacks=ATTACKS)
    for attack in ATTACKS:
        rmse, srocc = (printed(baseline, nt, f"{metric}_attacked", attack) for metric in ("rmse", "srocc"))
        assert rmse is not None and srocc is not None
        rows = scores["attack"] == attack
        scores.loc[rows, "clean_score"] = 1e-6 * np.arange(IMAGES)
        scores.loc[rows, "attacked_score"] = 1e-6 * order_with(srocc) + rmse
    return scores


def pair(baseline: str) -> Pair:
    tables = [[as_printed(baseline, nt)] for nt in (False, True)]
    return Pair(baseline=baseline, without=tables[0], nt=tables[1], data="livec", is_paper_setting=True)


def numbers(cells: tuple[Cell, ...]) -> list[float]:
    return [entry.value for cell in cells for entry in cell.entries]


def test_table_s7_follows_from_tables_2_and_3() -> None:
    pairs = [pair(baseline) for baseline in BASELINES]
    rows = dict(average_table(pairs, "test").rows)
    for baseline in BASELINES:
        of_paper = paper_averages().query("baseline == @baseline")
        expected = [*of_paper["rmse_attacked"], *of_paper["srocc_attacked"]]
        assert numbers(rows[baseline]) == pytest.approx(expected, abs=2e-4), baseline
        assert [cell.entries[0].printed for cell in rows[baseline]] == expected
    everything = np.mean([numbers(rows[baseline]) for baseline in BASELINES], axis=0)
    assert numbers(rows["mean over models and attacks"]) == pytest.approx(list(everything))
    (both,) = [cells[0] for label, cells in attack_table(pairs[:1], "2", "test").rows if label == "hyperiqa, fgsm"]
    assert [entry.value for entry in both.entries] == pytest.approx([19.174, 7.885], abs=1e-3)


def test_the_average_at_the_paper_s_setting_is_of_its_models_alone_and_no_attack_makes_no_average() -> None:
    knee = Pair(baseline="dbcnn", without=[score_table(noise=9.0)], nt=[score_table(noise=2.0)], data="a")
    paper = dataclasses.replace(knee, nt=[score_table(noise=4.0)], is_paper_setting=True, is_reported=False, study="p")
    rows = dict(average_table([knee, paper], "test").rows)
    assert rows["mean over models and attacks"] == tuple(
        dataclasses.replace(cell, entries=tuple(dataclasses.replace(one, printed=None) for one in cell.entries))
        for cell in rows["dbcnn"]
    )
    assert numbers(rows["the same at the paper's λ and h"]) == numbers(rows["p"]) != numbers(rows["dbcnn"])
    white_only = dataclasses.replace(
        knee, without=[score_table(attacks=("fgsm",))], nt=[score_table(attacks=("fgsm",))]
    )
    cells = dict(average_table([white_only], "test").rows)["dbcnn"]
    assert [bool(cell.entries) for cell in cells] == [True, False, True] * 2


def test_the_printed_values_use_our_names_and_stand_once() -> None:
    values = paper_values()
    assert set(values["metric"]) <= set(OBJECTIVES)
    assert set(values["attack"]) <= {"", *ATTACKS, "fgsm_mae", "fgsm_mse", "fgsm_mid"}
    assert not values.duplicated(["baseline", "nt", "attack", "step_size", "metric"]).any()
    assert values.groupby("table").size().to_dict() == {
        **{"1": 32, "2": 64, "3": 64, "4": 16, "S2": 24, "S4": 64, "S5": 64, "S6": 32}
    }


def test_printed_values_keep_the_bound_between_r_and_rmse() -> None:
    """Jensen: R >= log10(50 / RMSE) on a scale of 0..100; the natural logarithm would break it."""
    broken = 0
    for baseline in BASELINES[:3]:  # MANIQA's R is of 0..1 scores
        for nt in (False, True):
            for attack in ATTACKS:
                rmse, found = (printed(baseline, nt, name, attack) for name in ("rmse_attacked", "r_robustness"))
                assert rmse is not None and found is not None
                assert found >= math.log10(50 / rmse)
                broken += found < math.log(50 / rmse)
    assert broken == 15
