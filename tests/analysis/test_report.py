import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from score_tables import score_table

from analysis import report
from analysis.attack_series import series_over
from analysis.figures.images import Example
from analysis.front import find_front
from analysis.report import report_files, report_tables
from analysis.report_figures import StudyResult, study_figures
from trainables.objectives import measure

NOISE = {"baseline": 9.0, "t000": 3.0, "t001": 1.5}
GREY = np.full((4, 4, 3), 0.5, dtype=np.float32)
LAM = {"baseline": 0.0, "t000": 1e-5, "t001": 1e-4}


def scores_of(noise: float) -> pd.DataFrame:
    return pd.concat([score_table(images=24, noise=noise, split=split) for split in ("validation", "test")])


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return {trial: scores_of(noise) for trial, noise in NOISE.items()}


def result(
    tables: dict[str, pd.DataFrame],
    study: str = "demo",
    trials: tuple[str, ...] = tuple(NOISE),
    points: dict[str, tuple[float, float]] | None = None,
    defence: str = "nt",
    **more: Any,
) -> StudyResult:
    points = points or {trial: (lam, 0.01) for trial, lam in LAM.items()}
    summaries = [
        {
            "trial": trial,
            "lam": points[trial][0],
            "step_size": points[trial][1],
            "state": "complete",
            "validation": measure(tables[trial], "validation"),
            "test": measure(tables[trial], "test"),
            "is_baseline": trial == "baseline",
            "defence": defence,
        }
        for trial in trials
    ]
    front = find_front(study, summaries)
    return StudyResult(front=front, baseline="hyperiqa", scores=tables, **{"data": "aaaa", "eps": 0.005, **more})


@pytest.fixture(scope="module")
def files(tables: dict[str, pd.DataFrame]) -> dict[str, bytes]:
    more: dict[str, Any] = {
        "about": "HyperIQA on photographs.",
        "reproduce": ["nt-study launch hyperiqa --seed 0"],
        "environment": {"torch": "2.15"},
        "doubts": {"t000": [], "t001": ["noise: random noise does <nearly> as well"]},
        "planned_trials": 5,
        "examples": [Example(name="a", clean=GREY, attacked=GREY, clean_score=40.0, attacked_score=40.0, ssim=1.0)],
    }
    return report_files([result(tables, **more)])


def page_of(files: dict[str, bytes]) -> str:
    page = files["report.html"].decode()
    return page[: page.index("<script>")]


def test_the_report_holds_page_tables_and_figures(files):
    for key in ("1", "2", "3", "S3", "S4", "S5", "S6", "S7"):
        assert {f"tables/table_{key}.{ending}" for ending in ("md", "tex", "csv", "html")} <= set(files)
    figures = {name for name in files if name.startswith("figures/")}
    names = ("examples", "front", "parallel", "lam", "before_after", "change", "gradient_norm", "theory")
    assert figures == {*(f"figures/demo_{name}.png" for name in names), "figures/gradient_robustness.png"}
    assert all(files[name].startswith(b"\x89PNG") for name in figures)
    latex = files["tables.tex"].decode()
    assert latex.startswith(r"\documentclass") and latex.count(r"\begin{table}") == latex.count(r"\end{table}") == 8


def test_the_page_needs_nothing_from_outside_and_draws_every_figure(files):
    own = files["report.html"].decode().replace('href="#part-', "")
    assert len(own) < 1_500_000, "it loads on a phone"
    for address in ("href=", "http:", "https:", "@import"):
        assert address not in own
    assert own.count("src=") == own.count('src="data:image/png;base64,') == 1
    start = own.index("const figures = ") + len("const figures = ")
    drawings = json.JSONDecoder().raw_decode(own[start:])[0]
    assert [f'data-figure="{position}"' in own for position in range(len(drawings))] == [True] * 8
    assert all(drawing["data"] for drawing in drawings)


def test_the_page_says_what_was_found_how_to_make_it_again_and_what_to_doubt(files):
    page = page_of(files)
    for text in (
        "HyperIQA on photographs. demo:",
        "Partial: 3 of 5 trials have finished.",
        "nt-study launch hyperiqa --seed 0",
        "<td>2.15</td>",
        "<b>t000</b>: nothing suspicious",
        "random noise does &lt;nearly&gt; as well",
        "λ = 0 baseline",
    ):
        assert text in page


def test_a_study_without_its_baseline_has_a_front_but_says_that_tables_are_missing(tables):
    trials = ("t000", "t001")
    found = report_files([result(tables, trials=trials, planned_trials=2)])
    assert "No study of NT has both" in page_of(found) and "Partial" not in page_of(found)
    assert not any(name.startswith("tables/") for name in found)
    assert "figures/demo_front.png" in found
    assert found == report_files([result(tables, trials=trials, planned_trials=2)]), "the same records, the same bytes"


def test_a_study_of_another_defence_is_not_called_nt(tables):
    labels = {"fgsm": {"name": "fgsm"}, "mid": {"name": "fgsm", "loss": "mid"}, "mae": {"name": "fgsm", "loss": "mae"}}
    scores = {trial: pd.concat([*(table.assign(attack=name) for name in labels)]) for trial, table in tables.items()}
    other = result(scores, defence="adversarial_training", attacks=labels)
    captions = [table.caption for table in report_tables([other])]
    assert len(captions) == 2 and "hyperiqa with adversarial training under attacks" in captions[1]
    legends = [point.label for point in other.compared]
    assert legends[0] == "λ = 0" and legends[1].startswith("adversarial training, λ ")


def test_several_studies_share_tables_and_a_plot(tables, monkeypatch):
    monkeypatch.setattr(report, "_png", lambda figure: b"")  # half of the time, and nothing is asked of pictures
    first = result(tables)
    second = result({trial: scores_of(NOISE[trial] + 1) for trial in NOISE}, study="demo_2")
    found = report_files([first, second])
    assert {"figures/fronts.png", "figures/demo_front.png", "figures/demo_2_front.png"} <= set(found)
    page = page_of(found)
    assert page.count("data-figure=") == 2 + 7 + 7
    assert page.index("Front of demo on") < page.index("<h2>demo_2</h2>") < page.index("Front of demo_2 on")


def test_studies_that_cannot_share_a_report_are_refused(tables):
    with pytest.raises(ValueError, match="different data sets"):
        report_files([result(tables), result(tables, study="other", data="bbbb")])
    with pytest.raises(ValueError, match="each study can be reported once"):
        report_files([result(tables), result(tables)])
    with pytest.raises(ValueError, match="at least one study"):
        report_files([])


def test_a_score_table_that_was_not_given_is_named(tables):
    with pytest.raises(ValueError, match="study 'demo' reports trial baseline, whose score table was not given"):
        StudyResult(front=result(tables).front, baseline="hyperiqa", data="aaaa", scores={"t000": tables["t000"]})


def test_the_reported_nt_trial_is_the_knee_unless_that_is_the_baseline(tables):
    whole = result(tables)
    assert whole.front.reported is not None and whole.front.reported.trial == whole.front.knee.trial
    assert result(tables, trials=("baseline",)).front.reported is None
    # Of two members, one better at each end, the knee is the accurate one.
    worse = tables | {"t001": tables["t001"].assign(mos=tables["t001"]["mos"].to_numpy()[::-1])}
    two = result(worse, trials=("baseline", "t001"))
    assert two.front.knee.is_baseline
    assert two.front.reported is not None and two.front.reported.trial == "t001"


def test_seeds_join_the_study_s_own_trials_in_every_spread(tables):
    again = {trial: [scores_of(NOISE[trial] + more) for more in (0.2, 0.4)] for trial in NOISE}
    whole = result(tables, retrained=again)
    assert len(whole.runs) == 3 * len(NOISE)
    assert {run.test["rmse_attacked"] for run in whole.runs if run.trial == "t000"} == {
        measure(table, "test")["rmse_attacked"] for table in whole.tables("t000")
    }
    (found, *_) = [table for table in report_tables([whole]) if table.key == "1"]
    assert "training seeds (2 of them)" in found.notes[0], "the seed that chose is not counted"


def test_a_sweep_over_the_step_size_is_table_4(tables):
    swept = result(tables, points={"baseline": (0.0, 0.01), "t000": (1e-4, 0.002), "t001": (1e-4, 0.003)})
    (table,) = [table for table in report_tables([swept]) if table.key == "4"]
    assert [label for label, _ in table.rows] == ["0.002", "0.003"]
    names = [figure.name for figure in study_figures(swept)]
    assert "demo_step_size" in names and "demo_lam" not in names


def test_attacks_that_differ_in_one_parameter_are_figure_6_and_table_s2():
    labels = ("fgsm", "one", "two", "three", "mid", "mae")
    attacks: dict[str, dict[str, Any]] = {
        "fgsm": {"name": "fgsm", "eps": 0.005},
        "three": {"name": "ifgsm", "steps": 3},
        "one": {"name": "ifgsm", "steps": 1},
        "two": {"name": "ifgsm", "steps": 2},
        "mid": {"name": "fgsm", "loss": "mid"},
        "mae": {"name": "fgsm", "loss": "mae"},
    }
    assert series_over(attacks, "steps") == [["one", "two", "three"]]
    tables = {
        trial: pd.concat(
            [score_table(images=24, noise=noise, split=split, attacks=labels) for split in ("validation", "test")]
        )
        for trial, noise in NOISE.items()
    }
    whole = result(tables, attacks=attacks)
    assert [f"demo_intensity_steps_{name}" in [f.name for f in study_figures(whole)] for name in ("one", "two")] == [
        True,
        False,
    ]
    found = [table for table in report_tables([whole]) if table.key.startswith("S2")]
    assert [(table.key, [label for label, _ in table.rows]) for table in found] == [
        ("S2", ["mae", "mid"]),
        ("S2-2", ["mae", "mid"]),
    ]
