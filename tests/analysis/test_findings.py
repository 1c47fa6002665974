"""The account of the paper's claims, on score tables whose answer is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd
import pytest
from score_tables import score_table

from analysis import report
from analysis.findings import Finding, as_text, findings
from analysis.front import find_front
from analysis.report import paper_pairs, report_files, report_pairs
from analysis.report_figures import StudyResult
from analysis.squeeze import as_lines, squeezes
from analysis.tables import Pair, attack_table
from analysis.verdicts import verdict
from trainables.objectives import measure

Point = tuple[float, float, float]
"""λ, h, and how much the attacks move the scores of such a model."""
LAM_SWEEP: dict[str, Point] = {
    "baseline": (0.0, 0.01, 9.0),
    "t000": (1e-5, 0.01, 6.0),
    "t001": (1e-4, 0.01, 3.0),
    "t002": (3e-4, 0.01, 2.5),
    "t003": (1e-3, 0.01, 2.0),
    "t004": (3e-3, 0.01, 1.5),
}
ATTACKS = ("fgsm", "uap", "noise", "transfer", "perceptual_control")


def tables_of(noise: float, seed: int, attacks: tuple[str, ...]) -> pd.DataFrame:
    return pd.concat(
        [score_table(images=24, noise=noise, seed=seed, attacks=attacks, split=part) for part in ("validation", "test")]
    )


def study(
    points: dict[str, Point],
    *,
    seeds: int = 3,
    name: str = "sweep",
    labels: tuple[str, ...] = ATTACKS,
    paper: str = "",
    **more: Any,
) -> StudyResult:
    scores = {
        trial: [tables_of(noise + 0.1 * seed, seed, labels) for seed in range(seeds)]
        for trial, (_, _, noise) in points.items()
    }
    trials = [
        {
            "trial": trial,
            "lam": lam,
            "step_size": step_size,
            "state": "complete",
            "validation": measure(scores[trial][0], "validation"),
            "test": measure(scores[trial][0], "test"),
            "is_baseline": trial == "baseline",
            "is_paper_setting": trial == paper,
        }
        for trial, (lam, step_size, _) in points.items()
    ]
    return StudyResult(
        front=find_front(name, trials),
        baseline="hyperiqa",
        data="aaaa",
        scores={trial: tables[0] for trial, tables in scores.items()},
        retrained={trial: tables[1:] for trial, tables in scores.items()},
        **more,
    )


def found_in(*results: StudyResult) -> dict[str, Finding]:
    return {finding.statement: finding for finding in findings(report_pairs(results), results)}


def verdicts(finding: Finding) -> dict[str, str]:
    return {one.case: verdict(one.change, finding.claim, one.smallest) for one in finding.evidence}


def test_what_was_put_into_the_tables_is_found() -> None:
    found = found_in(study(LAM_SWEEP))
    assert verdicts(found["NT lessens what white-box attacks do to scores"]) == {"hyperiqa, fgsm": "holds"}
    assert verdicts(found["NT lessens what black-box attacks do to scores"]) == {"hyperiqa, uap": "holds"}
    assert verdicts(found["NT shrinks the input gradient"]) == {"hyperiqa": "holds"}
    assert verdicts(found["The larger λ, the less an attack does to scores"]) == {"sweep": "holds"}
    assert verdicts(found["The smaller a model's gradient, the more robust it is"]) == {"sweep": "holds"}
    (price,) = found["The price is some accuracy on clean images"].evidence
    assert price.change.low <= 0 <= price.change.high, "the clean scores of all trials are the same"
    assert not any("whatever" in statement for statement in found), "nothing was varied but λ"


def test_a_trend_the_other_way_does_not_hold() -> None:
    backwards: dict[str, Point] = {
        trial: (lam, step_size, 1 + index) for index, (trial, (lam, step_size, _)) in enumerate(LAM_SWEEP.items())
    }
    found = found_in(study(backwards))
    assert verdicts(found["The larger λ, the less an attack does to scores"]) == {"sweep": "does not hold"}


def test_few_trials_leave_a_trend_undecided_however_many_seeds_agree() -> None:
    few = dict(list(LAM_SWEEP.items())[:4])
    (one,) = found_in(study(few, seeds=5))["The larger λ, the less an attack does to scores"].evidence
    assert one.by_seed == (-1.0,) * 5 and one.change.high > 0
    assert verdict(one.change, "falls") == "undecided"


def test_attacks_in_one_box_are_one_case_and_one_that_does_nothing_is_none() -> None:
    suite: dict[str, dict[str, Any]] = {
        "fgsm": {"name": "fgsm", "eps": 0.005},
        "apgd": {"name": "apgd", "eps": 0.005},
        "wide": {"name": "ifgsm", "eps": 0.02},
        "perceptual": {"name": "perceptual"},
        "noop": {"name": "perceptual"},
    }
    tables = [score_table(noise=noise, attacks=(*suite, "perceptual_control", "noop_control")) for noise in (9.0, 2.0)]
    for table in tables:
        still = table["attack"].isin(["noop", "noop_control", "perceptual_control"])
        table.loc[still, "attacked_score"] = table.loc[still, "clean_score"] + 0.1
    pair = Pair(baseline="hyperiqa", without=tables[:1], nt=tables[1:], data="a", suite=suite)
    (white, *_) = findings([pair], [])
    assert [one.case for one in white.evidence] == [
        "hyperiqa, fgsm + apgd (eps 0.005)",
        "hyperiqa, perceptual",
        "hyperiqa, wide (eps 0.020)",
    ]
    assert "- hyperiqa, noop: moves λ = 0 by 0.100 points, its start alone by 0.100" in as_text([white], [], [pair])


def test_the_seed_that_chose_is_not_counted_but_all_are_where_nothing_was_chosen() -> None:
    result = study(LAM_SWEEP, paper="t001")
    (chosen,), (fixed,) = report_pairs([result]), paper_pairs([result])
    assert result.front.reported is not None and result.front.reported.trial != "t001"
    assert (
        len(chosen.nt) == len(chosen.without) == 2 and chosen.nt[0] is result.retrained[result.front.reported.trial][0]
    )
    assert len(fixed.nt) == len(fixed.without) == 3
    (alone,) = report_pairs([study(LAM_SWEEP, seeds=1)])
    assert alone.is_flattered and not chosen.is_flattered


def test_an_attack_that_few_seeds_met_is_no_part_of_a_case_and_shortens_none() -> None:
    """It stays in the tables, with the seeds that it has."""
    points = {trial: point for trial, point in LAM_SWEEP.items() if trial in ("baseline", "t001")}
    labels = ("fgsm", "apgd", "uap")
    result = study(points, seeds=5, labels=labels, attacks={label: {"name": label, "eps": 0.005} for label in labels})
    retrained = {
        trial: [*tables[:2], *(table[table["attack"] != "apgd"] for table in tables[2:])]
        for trial, tables in result.retrained.items()
    }
    result = dataclasses.replace(result, retrained=retrained)
    (pair,) = report_pairs([result])
    assert {label: pair.seeds(label) for label in labels} == {"fgsm": 4, "apgd": 2, "uap": 4}
    white, *_ = findings([pair], [])
    assert [(one.case, len(one.by_seed)) for one in white.evidence] == [("hyperiqa, fgsm (eps 0.005)", 4)]
    assert "fgsm" in pair.attacks and "apgd" in pair.attacks
    assert "(2 or 4 of them)" in attack_table([pair], "2", "test").notes[0]


def test_step_sizes_and_intensities_are_their_own_claims() -> None:
    steps = {f"ifgsm{steps}": {"name": "ifgsm", "steps": steps} for steps in (1, 2, 3)}
    swept: dict[str, Point] = {"baseline": (0.0, 0.01, 9.0)} | {
        f"t00{row}": (1e-4, step_size, 3.0) for row, step_size in enumerate((0.001, 0.01, 0.1))
    }
    two: dict[str, Point] = {"baseline": LAM_SWEEP["baseline"], "t000": LAM_SWEEP["t002"]}
    strong = study(two, name="strong", labels=("fgsm", *steps), attacks=steps)
    found = found_in(study(swept, name="sizes"), strong)
    assert verdicts(found["NT lessens what an attack does to scores whatever the step size h"]) == {
        f"sizes, h = {step_size:g}": "holds" for step_size in (0.001, 0.01, 0.1)
    }
    graded = found["NT lessens what an attack does to scores whatever its steps, eps and loss"]
    assert len(graded.evidence) == 1, "three strengths within one box are one case"
    assert graded.evidence[0].case.endswith("the least of ifgsm1 + ifgsm2 + ifgsm3")
    assert "strong, ifgsm1" not in verdicts(found["NT lessens what white-box attacks do to scores"])


def test_the_account_counts_what_it_lists_and_names_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_png", lambda figure: b"")  # half of the time, and nothing is asked of pictures
    result = study(LAM_SWEEP, doubts={"baseline": [], "t002": ["random noise does as well"]})
    text = report_files([result])["findings.md"].decode()
    pairs = report_pairs([result])
    assert text == as_text(findings(pairs, [result]), [result], pairs)
    assert "| NT lessens what white-box attacks do to scores | Table 2 | 1 | 0 | 0 | 0 |" in text
    assert "- sweep: 1 of 2 trials attacked with the full suite give reason to doubt it" in text
    assert "t002: random noise does as well" in text


def test_the_paper_s_setting_is_a_case_of_its_own_unless_it_is_reported_anyway() -> None:
    for trial in ("t000", "t001", "t004"):
        result = study(LAM_SWEEP, paper=trial)
        pairs = paper_pairs([result])
        assert result.front.reported is not None
        if result.front.reported.trial == trial:
            assert not pairs
        else:
            assert [pair.name for pair in pairs] == ["sweep (the paper's λ and h)"]
            assert pairs[0].nt[0] is result.scores[trial] and len(pairs[0].without) == 3


def test_a_gain_that_is_compression_alone_is_called_so() -> None:
    """Ten times closer together, attacked or not; and half as much moved at the same spread."""
    plain = score_table(80, noise=6.0)
    squeezed, steadier = plain.copy(), plain.copy()
    for column in ("clean_score", "attacked_score"):
        squeezed[column] = 50 + (plain[column] - 50) / 10
    steadier["attacked_score"] = plain["clean_score"] + (plain["attacked_score"] - plain["clean_score"]) / 2
    pairs = [Pair(baseline=name, without=[plain], nt=[nt], data="a") for name, nt in (("a", squeezed), ("b", steadier))]
    compressed, robust = squeezes(pairs, "test")
    assert compressed.cut.value == pytest.approx(0.9) and compressed.relative.value == pytest.approx(0, abs=1e-9)
    assert compressed.fitted.value == pytest.approx(0, abs=1e-3) and compressed.compression == pytest.approx(1)
    assert compressed.said == "compression only"
    assert robust.cut.value == robust.relative.value == pytest.approx(0.5) and robust.compression == 0
    assert robust.said == "robust; 0 % of the gain is compression"
    assert "| a | " in "\n".join(as_lines([compressed])) and "compression only" in as_lines([compressed])[-2]
