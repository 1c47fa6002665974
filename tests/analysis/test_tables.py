import dataclasses
import io
import math
import re

import numpy as np
import pandas as pd
import pytest
from score_tables import score_table

from analysis.metrics import interval, mean_interval, value
from analysis.tables import (
    Cell,
    Entry,
    Pair,
    Table,
    attack_loss_table,
    attack_table,
    clean_table,
    paper_tables,
    step_size_table,
)
from analysis.tables_as import as_csv, as_html, as_latex, as_markdown
from analysis.visibility import visibility_table


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
    before_after, to_mos, relative = row(attack_table([one], "2", "test"), "hyperiqa, uap")
    assert before_after.entries[1].value == value(one.nt[0], "test", "rmse_attacked/uap")
    assert to_mos.entries[0].value == value(one.without[0], "test", "rmse_mos_attacked/uap")
    assert relative.entries[0].value == value(one.without[0], "test", "rmse_attacked_relative/uap")


def test_several_seeds_give_their_mean_with_an_interval_over_photographs_and_seeds():
    three = pair(seeds=3)
    table = attack_table([three], "2", "test")
    nt = row(table, "hyperiqa, fgsm")[0].entries[1]
    expected = mean_interval(three.nt, "test", "rmse_attacked")
    assert (nt.value, nt.low, nt.high) == (expected.value, expected.low, expected.high)
    assert nt.value == pytest.approx(np.mean([value(of, "test", "rmse_attacked") for of in three.nt]))
    assert "training seeds (3 of them)" in table.notes[0]


def test_the_better_value_is_bold_in_the_direction_of_its_metric():
    rmse, *_ = row(attack_table([pair()], "2", "test"), "hyperiqa, fgsm")
    (r_robustness,) = row(attack_table([pair()], "S6", "test"), "hyperiqa, fgsm")
    assert [entry.is_better for entry in rmse.entries] == [False, True]
    assert [entry.is_better for entry in r_robustness.entries] == [False, True]
    assert rmse.entries[0].value > rmse.entries[1].value
    assert r_robustness.entries[0].value < r_robustness.entries[1].value


def test_equal_and_undefined_values_have_no_better_one():
    same = Pair(baseline="own", without=[score_table()], nt=[score_table()], data="a")
    constant = score_table().assign(clean_score=50.0)
    undefined = Pair(baseline="own", without=[constant], nt=[score_table()], data="a")
    for one, is_tie in ((same, True), (undefined, False)):
        (cell,) = row(clean_table([one], "test"), "own, SROCC")
        assert not any(entry.is_better for entry in cell.entries) and cell.is_tie == is_tie
    assert "– / " in as_markdown(clean_table([undefined], "test"))


def test_a_difference_too_small_to_matter_is_a_tie_and_an_undecided_one_is_neither():
    def with_change(of: np.ndarray | float) -> pd.DataFrame:
        scores = score_table(attacks=("fgsm",))
        return scores.assign(attacked_score=scores["clean_score"] + of)

    photographs = np.arange(40) % 4
    cases = {
        "≈": with_change(10.2),  # two tenths of a point on every image
        "/": with_change(10 + np.array([-9.0, 4.0, -8.0, 3.0])[photographs]),  # now more, now less
    }
    for mark, nt in cases.items():
        one = Pair(baseline="own", without=[with_change(10.0)], nt=[nt], data="a")
        cell = row(attack_table([one], "2", "test"), "own, fgsm")[0]
        assert not any(entry.is_better for entry in cell.entries) and cell.is_tie == (mark == "≈")
        assert f"] {mark} " in as_markdown(attack_table([one], "2", "test"))
        assert (r"]} $\approx$ " in as_latex(attack_table([one], "2", "test"))) == cell.is_tie


def test_an_attack_that_only_one_model_has_is_shown_as_missing_for_the_other():
    table = attack_table([pair("hyperiqa"), pair("dbcnn", attacks=("fgsm",))], "2", "test")
    assert row(table, "dbcnn, uap") == tuple(
        Cell(metric=f"{name}/uap") for name in ("rmse_attacked", "rmse_mos_attacked", "rmse_attacked_relative")
    )
    assert "| dbcnn, uap | – | – | – |" in as_markdown(table)
    assert table.notes[-1] == "Not measured: perceptual, kor."


def test_attacks_stand_in_the_order_of_the_paper_and_others_after_them():
    one = pair(attacks=("noise", "uap", "apgd", "fgsm"))
    labels = [label for label, _ in attack_table([one], "3", "test").rows]
    assert labels == [f"hyperiqa, {attack}" for attack in ("fgsm", "uap", "apgd", "noise")]


def test_at_the_paper_s_setting_alone_stand_the_paper_s_values_of_nt():
    knee = pair("linearityiqa")
    paper = dataclasses.replace(pair("linearityiqa"), study="the paper's", is_paper_setting=True, is_reported=False)
    table = attack_table([knee, paper], "2", "test")
    assert [entry.printed for entry in row(table, "linearityiqa, fgsm")[0].entries] == [48.128, None]
    assert [entry.printed for entry in row(table, "the paper's, fgsm")[0].entries] == [48.128, 36.988]


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


def test_all_tables_of_the_paper_are_made():
    assert [table.key for table in paper_tables([pair()])] == ["1", "2", "3", "S4", "S5", "S6"]


def test_step_sizes_are_sorted_and_losses_keep_their_order():
    steps = step_size_table("hyperiqa", {0.1: [score_table(noise=5.0)], 0.001: [score_table(noise=2.0)]})
    assert [label for label, _ in steps.rows] == ["0.001", "0.1"]
    scores = score_table(attacks=("fgsm", "fgsm_mse"))
    losses = attack_loss_table("dbcnn", [scores], ["fgsm_mse", "fgsm"], "test")
    assert [label for label, _ in losses.rows] == ["fgsm_mse", "fgsm"]
    assert losses.rows[0][1][0].entries[0].value == value(scores, "test", "rmse_attacked/fgsm_mse")
    captions = [
        attack_loss_table("dbcnn", [scores], ["fgsm"], "test", defence).caption
        for defence in ("", "nt", "adversarial_training")
    ]
    assert [caption.partition(" under ")[0] for caption in captions] == [
        "dbcnn",
        "dbcnn with NT",
        "dbcnn with adversarial training",
    ]


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
    (steps,) = step_size_table("dbcnn", {0.1: [score_table()]}).rows
    assert [cell.entries[0].printed for cell in steps[1]] == [0.846, 12.417, -0.3832, None, 28.785, None]


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
    assert frame.loc[0, "paper"] == 32.778 and frame["paper"].notna().sum() == 4
    assert as_csv(table) == as_csv(attack_table([pair("dbcnn")], "2", "test"))


def test_the_share_of_images_that_stay_alike_is_counted_over_all_seeds():
    def with_ssim(*values: float) -> pd.DataFrame:
        return score_table(4, attacks=("fgsm",)).assign(ssim=values)

    one = Pair(
        baseline="own",
        without=[with_ssim(0.95, 0.85, 0.91, 0.89), with_ssim(0.99, 0.99, 0.99, 0.5)],
        nt=[with_ssim(0.95, 0.95, 0.95, 0.95)],
        data="a",
    )
    table = visibility_table([one], "test")
    assert table is not None
    shares, means = row(table, "own, fgsm")
    assert [entry.value for entry in shares.entries] == [5 / 8, 1.0]
    assert means.entries[1].value == pytest.approx(0.95)
    unmeasured = dataclasses.replace(one, nt=[with_ssim(*[np.nan] * 4)])
    assert visibility_table([unmeasured], "test") is None
