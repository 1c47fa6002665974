import dataclasses
import io
import math
import re

import numpy as np
import pandas as pd
import pytest
from score_tables import score_table

from analysis.metrics import interval, value
from analysis.paper import ATTACKS, paper_values, printed
from analysis.tables import (
    Cell,
    Entry,
    Pair,
    Table,
    attack_loss_table,
    attack_table,
    average_table,
    clean_table,
    paper_tables,
    step_size_table,
)
from analysis.tables_as import as_csv, as_html, as_latex, as_markdown
from trainables.objectives import OBJECTIVES


def pair(
    baseline: str = "hyperiqa", seeds: int = 1, data: str = "aaaa", attacks: tuple[str, ...] = ("fgsm", "uap")
) -> Pair:
    return Pair(
        baseline=baseline,
        without=[score_table(noise=9.0, seed=3 + seed, attacks=attacks) for seed in range(seeds)],
        nt=[score_table(noise=2.0, seed=3 + seed, attacks=attacks) for seed in range(seeds)],
        data=data,
    )


def row(table: Table, label: str) -> tuple[Cell, ...]:
    return dict(table.rows)[label]


def test_cells_are_the_metrics_of_the_score_tables_with_their_intervals():
    one = pair()
    (cell,) = row(clean_table([one], "test"), "hyperiqa, SROCC")
    without, nt = cell.entries
    expected = interval(one.without[0], "test", "srocc")
    assert (without.value, without.low, without.high) == (expected.value, expected.low, expected.high)
    assert nt.value == value(one.nt[0], "test", "srocc")
    before_after, to_mos = row(attack_table([one], "2", "test"), "hyperiqa, uap")
    assert before_after.entries[1].value == value(one.nt[0], "test", "rmse_attacked/uap")
    assert to_mos.entries[0].value == value(one.without[0], "test", "rmse_mos_attacked/uap")


def test_several_seeds_give_their_mean_and_deviation():
    three = pair(seeds=3)
    (cell, _) = row(attack_table([three], "2", "test"), "hyperiqa, fgsm")
    values = [value(table, "test", "rmse_attacked") for table in three.nt]
    nt = cell.entries[1]
    assert nt.value == pytest.approx(np.mean(values))
    assert nt.high - nt.low == pytest.approx(2 * np.std(values, ddof=1))
    assert "3 seeds" in attack_table([three], "2", "test").notes[0]


def test_the_better_value_is_bold_in_the_direction_of_its_metric():
    rmse, _ = row(attack_table([pair()], "2", "test"), "hyperiqa, fgsm")
    (r_robustness,) = row(attack_table([pair()], "S6", "test"), "hyperiqa, fgsm")
    assert [entry.is_better for entry in rmse.entries] == [False, True]
    assert [entry.is_better for entry in r_robustness.entries] == [False, True]
    assert rmse.entries[0].value > rmse.entries[1].value
    assert r_robustness.entries[0].value < r_robustness.entries[1].value


def test_equal_and_undefined_values_have_no_better_one():
    same = Pair(baseline="dbcnn", without=[score_table()], nt=[score_table()], data="a")
    constant = score_table().assign(clean_score=50.0)
    undefined = Pair(baseline="dbcnn", without=[constant], nt=[score_table()], data="a")
    for one in (same, undefined):
        (cell,) = row(clean_table([one], "test"), "dbcnn, SROCC")
        assert not any(entry.is_better for entry in cell.entries)
    assert "– / " in as_markdown(clean_table([undefined], "test"))


def test_an_attack_that_only_one_model_has_is_shown_as_missing_for_the_other():
    table = attack_table([pair("hyperiqa"), pair("dbcnn", attacks=("fgsm",))], "2", "test")
    assert row(table, "dbcnn, uap") == (Cell(metric="rmse_attacked/uap"), Cell(metric="rmse_mos_attacked/uap"))
    assert "| dbcnn, uap | – | – |" in as_markdown(table)
    assert table.notes[-1] == "Not measured: perceptual, kor."


def test_attacks_stand_in_the_order_of_the_paper_and_others_after_them():
    one = pair(attacks=("noise", "uap", "apgd", "fgsm"))
    labels = [label for label, _ in attack_table([one], "3", "test").rows]
    assert labels == [f"hyperiqa, {attack}" for attack in ("fgsm", "uap", "apgd", "noise")]


def test_the_average_table_is_the_mean_change_over_models_and_the_papers_attacks():
    pairs = [pair("hyperiqa"), pair("dbcnn", attacks=("fgsm", "uap", "noise"))]
    (_, (white_rmse, black_rmse, white_srocc, _)) = average_table(pairs, "test").rows[0]

    def mean_change(name: str) -> float:
        return float(np.mean([value(p.nt[0], "test", name) - value(p.without[0], "test", name) for p in pairs]))

    assert white_rmse.entries[0].value == pytest.approx(mean_change("rmse_attacked"))
    assert black_rmse.entries[0].value == pytest.approx(mean_change("rmse_attacked/uap"))
    assert white_srocc.entries[0].value == pytest.approx(mean_change("srocc_attacked"))


def test_the_paper_s_setting_has_an_average_of_its_own_and_alone_the_paper_s_values_of_nt():
    knee = pair("linearityiqa")
    paper = dataclasses.replace(pair("linearityiqa"), study="the paper's", is_paper_setting=True, is_reported=False)
    both = dataclasses.replace(pair("hyperiqa"), is_paper_setting=True)  # reported, and at the paper's λ and h
    rows = dict(average_table([knee, paper, both], "test").rows)
    assert rows["mean over models and attacks"] == average_table([knee, both], "test").rows[0][1]
    assert rows["the same at the paper's λ and h"] == average_table([paper, both], "test").rows[1][1]
    table = attack_table([knee, paper], "2", "test")
    assert [entry.printed for entry in row(table, "linearityiqa, fgsm")[0].entries] == [48.1, None]
    assert [entry.printed for entry in row(table, "the paper's, fgsm")[0].entries] == [48.1, 37.0]


def test_a_study_has_rows_of_its_own_attacks_and_their_controls_only():
    suite = {"fgsm": {"name": "fgsm"}, "uap": {"name": "uap"}, "p": {"name": "perceptual"}}
    one = dataclasses.replace(pair(attacks=("fgsm", "p", "p_control")), suite=suite)
    other = dataclasses.replace(pair("dbcnn", attacks=("fgsm", "noise")), suite={"fgsm": {}, "noise": {}})
    labels = [label for label, _ in attack_table([one, other], "2", "test").rows]
    assert labels == ["hyperiqa, fgsm", "hyperiqa, p", "hyperiqa, p_control", "dbcnn, fgsm", "dbcnn, noise"]


def test_scores_that_nothing_moved_are_counted_once():
    still = score_table(noise=9.0, seed=3)
    still.loc[still.index[:2], "attacked_score"] = still.loc[still.index[:2], "clean_score"]
    one = dataclasses.replace(pair(), without=[still])
    notes = attack_table([one, dataclasses.replace(one, study="again")], "S6", "test").notes
    assert notes[-1] == "2 scores did not change at all, which makes their R infinite."
    assert "infinite" not in " ".join(attack_table([pair()], "S6", "test").notes)


def test_a_group_without_attacks_has_no_average_instead_of_zero():
    (_, cells) = average_table([pair(attacks=("fgsm", "noise"))], "test").rows[0]
    assert cells[1].entries == () and cells[3].entries == ()


def test_all_tables_of_the_paper_are_made():
    assert [table.key for table in paper_tables([pair()])] == ["1", "2", "3", "S4", "S5", "S6", "S7"]


def test_step_sizes_are_sorted_and_losses_keep_their_order():
    steps = step_size_table("hyperiqa", {0.1: [score_table(noise=5.0)], 0.001: [score_table(noise=2.0)]})
    assert [label for label, _ in steps.rows] == ["0.001", "0.1"]
    scores = score_table(attacks=("fgsm", "fgsm_mse"))
    losses = attack_loss_table("dbcnn", [scores], ["fgsm_mse", "fgsm"], "test")
    assert [label for label, _ in losses.rows] == ["fgsm_mse", "fgsm"]
    assert losses.rows[0][1][0].entries[0].value == value(scores, "test", "rmse_attacked/fgsm_mse")


def test_different_data_and_missing_trials_are_refused():
    with pytest.raises(ValueError, match=r"hyperiqa and dbcnn were measured on different data sets"):
        paper_tables([pair(), pair("dbcnn", data="bbbb")])
    with pytest.raises(ValueError, match="hyperiqa: no finished trial with NT"):
        Pair(baseline="hyperiqa", without=[score_table()], nt=[], data="a")
    with pytest.raises(ValueError, match="at least one baseline"):
        paper_tables([])


def test_the_papers_values_stand_beside_ours():
    table = attack_table([pair("dbcnn")], "2", "test")
    assert row(table, "dbcnn, fgsm")[0].entries[0].printed == 32.778
    assert "*(paper 32.778)*" in as_markdown(table)
    assert printed("dbcnn", True, "rmse_attacked", "fgsm") is None


def test_the_papers_values_use_our_names_and_stand_once():
    values = paper_values()
    assert set(values["metric"]) <= set(OBJECTIVES)
    assert set(values["attack"]) <= {"", *ATTACKS, "fgsm_mae"}
    assert not values.duplicated(["baseline", "nt", "attack", "metric"]).any()


def test_printed_values_keep_the_bound_between_r_and_rmse():
    """Jensen: R >= log10(50 / RMSE) on a scale of 0..100 is what rules out the natural logarithm."""
    rmse = printed("dbcnn", False, "rmse_attacked", "fgsm")
    r_robustness = printed("dbcnn", False, "r_robustness", "fgsm")
    assert rmse is not None and r_robustness is not None
    assert r_robustness >= math.log10(50 / rmse)
    assert r_robustness < math.log(50 / rmse)


AWKWARD = Table(
    key="X",
    caption="50 % of R&D_1 | λ",
    head=("model", "Δ#"),
    rows=(
        ("a_b|c", (Cell(metric="rmse", entries=(Entry(value=1.5, low=1.25, high=math.inf, is_better=True),)),)),
        ("<b>", (Cell(metric="rmse"),)),
    ),
    notes=("n < 3 & more",),
)


def test_special_characters_survive_every_format():
    markdown, latex, page = as_markdown(AWKWARD), as_latex(AWKWARD), as_html(AWKWARD)
    assert r"| a_b\|c | **1.50** [1.25, ∞] |" in markdown
    assert r"a\_b|c & \textbf{1.50} {\scriptsize [1.25, $\infty$]} \\" in latex
    assert r"50 \% of R\&D\_1 | $\lambda$" in latex
    assert "<b>1.50</b> <small>[1.25, ∞]</small>" in page
    assert "&lt;b&gt;" in page and "n &lt; 3 &amp; more" in page


def test_latex_has_balanced_braces_and_as_many_cells_as_columns():
    for table in [AWKWARD, *paper_tables([pair(), pair("dbcnn")])]:
        text = as_latex(table)
        unescaped = re.sub(r"\\[{}]", "", text)
        assert unescaped.count("{") == unescaped.count("}")
        body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
        assert len(body) == len(table.rows)
        assert all(len(re.findall(r"(?<!\\)&", line)) == len(table.head) - 1 for line in body)


def nudged(cell: Cell) -> Cell:
    """The cell with each number a bit off, as another processor may have it."""
    entries = [dataclasses.replace(entry, value=math.nextafter(entry.value, math.inf)) for entry in cell.entries]
    return dataclasses.replace(cell, entries=tuple(entries))


def test_csv_holds_every_number_to_ten_digits():
    table = attack_table([pair("dbcnn")], "2", "test")
    frame = pd.read_csv(io.StringIO(as_csv(table)))
    cells = [cell for _, cells in table.rows for cell in cells]
    values = [entry.value for cell in cells for entry in cell.entries]
    assert list(frame["value"]) == [float(f"{value:.10g}") for value in values]
    rows = tuple((label, tuple(nudged(cell) for cell in cells)) for label, cells in table.rows)
    assert as_csv(dataclasses.replace(table, rows=rows)) == as_csv(table), "another processor's last bit is seen"
    assert list(frame["nt"]) == [0, 1] * len(cells)
    assert frame.loc[0, "paper"] == 32.778 and frame["paper"].notna().sum() == 1
    assert as_csv(table) == as_csv(attack_table([pair("dbcnn")], "2", "test"))
