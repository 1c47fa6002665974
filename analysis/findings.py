"""Which of the paper's observations some studies bear out: claim by claim, with intervals, as plain text.

The claims are those of Section 5 of the paper and its supplement; each is tested on test images by a difference or a
trend whose interval must exclude 0. With several training seeds intervals are over seeds, else over images.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.stats

from analysis.attack_series import series_over
from analysis.changes import Claim, change_of, over_seeds, seed_changes, verdict
from analysis.front import TrialPoint
from analysis.identity import evidence_of, once
from analysis.labels import number
from analysis.metrics import Interval, value
from analysis.paper import BLACK_BOX
from analysis.report_figures import SPLIT, StudyResult
from analysis.tables import Pair, suffixed
from trainables.objectives import DEFAULT_ATTACK
from trainables.record import CONTROL

CONTROLS = ("noise", "transfer")
"""No attacks to claim a gain against: noise, and images made on the λ = 0 baseline, which are white box to it alone."""
FEWEST_POINTS = 3
"""Trials that a trend needs."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    case: str
    change: Interval
    by_seed: tuple[float, ...]
    identity: str = ""
    """Digest of the scores behind it: models that several studies share are one case."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A claim of the paper and what each model says of it."""

    statement: str
    source: str
    """Where the paper makes it."""
    quantity: str
    claim: Claim
    evidence: tuple[Evidence, ...]


def findings(pairs: Sequence[Pair], results: Sequence[StudyResult]) -> list[Finding]:
    """The claims that these studies can speak to. pairs: the models without and with NT, as in the tables."""
    found = [*_under_attack(pairs), *_without_attack(pairs), *_along_trials(results)]
    found += [
        Finding(
            statement="NT lessens what an attack does to scores whatever the step size h",
            source="Table 4",
            quantity="change of attacked RMSE through NT",
            claim="falls",
            evidence=_per_step_size(results),
        ),
        Finding(
            statement="NT lessens what an attack does to scores whatever its steps, eps and loss",
            source="Figure 6, Table S2",
            quantity="change of attacked RMSE through NT",
            claim="falls",
            evidence=_per_attack(pairs, "rmse_attacked", _is_graded),
        ),
    ]
    return [
        replace(finding, evidence=tuple(once([(one.identity, one) for one in finding.evidence])))
        for finding in found
        if finding.evidence
    ]


def as_text(found: Sequence[Finding], results: Sequence[StudyResult]) -> str:
    """The account as Markdown: a line per claim, then each claim's cases, then what the audit doubts."""
    verdicts = [Counter(verdict(one.change, finding.claim) for one in finding.evidence) for finding in found]
    studies = ", ".join(result.front.study for result in results)
    doubted = [f"- {result.front.study}: {result.front.doubt}." for result in results if result.front.doubt]
    lines = [
        "# What these studies bear out",
        "",
        f"Studies: {studies}. A model's name stands for its study's knee (or most robust trial, where that is λ = 0) "
        f"against λ = 0; chosen on validation images, measured on {SPLIT} images. "
        "Models that studies share count once. A claim holds in a case where the whole 95 % interval lies on its side "
        "of 0, does not hold where it lies on "
        "the other side, and is undecided where the interval holds 0 or cannot be given. Intervals are over training "
        "seeds (Student's t, differences paired by seed, the seed that the trials were chosen on among them); with one "
        "seed differences have intervals over images, correlations and Table S7 none.",
        "",
        *([*doubted, ""] if doubted else []),
        "| claim | the paper | holds | does not | undecided | every seed on its side |",
        "|---|---|---:|---:|---:|---:|",
        *(
            f"| {finding.statement} | {finding.source} | {count['holds']} | {count['does not hold']} "
            f"| {count['undecided']} | {sum(_all_agree(one, finding.claim) for one in finding.evidence)} |"
            for finding, count in zip(found, verdicts, strict=True)
        ),
    ]
    for finding in found:
        lines += [
            "",
            f"## {finding.statement}",
            "",
            f"{finding.source}. Measured: {finding.quantity}; claimed: it {_CLAIMED[finding.claim]}.",
            "",
            "| case | mean [95 % interval] | each seed | |",
            "|---|---:|---:|---|",
            *(
                f"| {one.case} | {_text(one.change)} | {', '.join(map(number, one.by_seed))} "
                f"| {verdict(one.change, finding.claim)} |"
                for one in finding.evidence
            ),
        ]
    return "\n".join([*lines, "", *_doubts(results), ""])


def _under_attack(pairs: Sequence[Pair]) -> list[Finding]:
    return [
        Finding(
            statement="NT lessens what white-box attacks do to scores",
            source="Table 2",
            quantity="change of attacked RMSE through NT",
            claim="falls",
            evidence=_per_attack(pairs, "rmse_attacked", _is_white_box),
        ),
        Finding(
            statement="NT keeps the order of scores under white-box attacks",
            source="Table 3",
            quantity="change of SROCC before–after attack through NT",
            claim="rises",
            evidence=_per_attack(pairs, "srocc_attacked", _is_white_box),
        ),
        Finding(
            statement="NT lessens what black-box attacks do to scores",
            source="Table 2",
            quantity="change of attacked RMSE through NT",
            claim="falls",
            evidence=_per_attack(pairs, "rmse_attacked", _is_black_box),
        ),
        Finding(
            statement="It helps more against white-box attacks than against black-box ones",
            source="Table S7",
            quantity="mean ΔRMSE under white-box attacks minus that under black-box attacks",
            claim="falls",
            evidence=tuple(one for one in map(_white_against_black, pairs) if one is not None),
        ),
    ]


def _without_attack(pairs: Sequence[Pair]) -> list[Finding]:
    def clean(metric: str) -> tuple[Evidence, ...]:
        return tuple(_change(pair.name, pair, metric) for pair in pairs)

    return [
        Finding(
            statement="The price is some accuracy on clean images",
            source="Table 1",
            quantity="change of clean SROCC through NT",
            claim="falls",
            evidence=clean("srocc"),
        ),
        Finding(
            statement="NT shrinks the input gradient",
            source="Theorem 1, Figure 4",
            quantity="change of the gradient's mean L1 norm through NT",
            claim="falls",
            evidence=clean("gradient_l1"),
        ),
    ]


def _along_trials(results: Sequence[StudyResult]) -> list[Finding]:
    def norm(point: TrialPoint, table: pd.DataFrame) -> float:
        return value(table, SPLIT, "gradient_l1")

    def lam(point: TrialPoint, table: pd.DataFrame) -> float:
        return point.lam

    return [
        Finding(
            statement="The smaller a model's gradient, the more robust it is",
            source="Figure 5",
            quantity="rank correlation of gradient norm and R robustness over a study's trials",
            claim="falls",
            evidence=_trends(results, norm, "r_robustness"),
        ),
        Finding(
            statement="The larger λ, the less an attack does to scores",
            source="Figures 7, S5",
            quantity="rank correlation of λ and attacked RMSE over a study's trials",
            claim="falls",
            evidence=_trends(_varying(results, "lam"), lam, "rmse_attacked"),
        ),
        Finding(
            statement="The larger λ, the less accurate on clean images",
            source="Figures 7, S5",
            quantity="rank correlation of λ and clean SROCC over a study's trials",
            claim="falls",
            evidence=_trends(_varying(results, "lam"), lam, "srocc"),
        ),
    ]


def _per_attack(pairs: Sequence[Pair], metric: str, wanted: Callable[[Pair, str], bool]) -> tuple[Evidence, ...]:
    return tuple(
        _change(f"{pair.name}, {attack}", pair, suffixed(metric, attack))
        for pair in pairs
        for attack in pair.attacks
        if wanted(pair, attack)
    )


_CLAIMED = {"falls": "is below 0", "rises": "is above 0"}


def _doubts(results: Sequence[StudyResult]) -> list[str]:
    lines = ["## Is the robustness real?", ""]
    for result in results:
        if not result.doubts:
            lines.append(f"- {result.front.study}: nothing was audited: no trial was attacked with the full suite.")
            continue
        doubted = {trial: sentences for trial, sentences in result.doubts.items() if sentences}
        rest = len(result.scores) - len(result.doubts)
        lines.append(
            f"- {result.front.study}: {len(doubted)} of {len(result.doubts)} trials attacked with the full suite give "
            f"reason to doubt it{f'; {rest} were not attacked so' if rest else ''}."
        )
        lines += [f"  - {trial}: {'; '.join(sentences)}" for trial, sentences in doubted.items()]
    return lines


def _all_agree(evidence: Evidence, claim: Claim) -> bool:
    return all(value < 0 if claim == "falls" else value > 0 for value in evidence.by_seed)


def _text(change: Interval) -> str:
    if not np.isfinite([change.low, change.high]).all():
        return number(change.value)
    return f"{number(change.value)} [{number(change.low)}, {number(change.high)}]"


def _is_nt(point: TrialPoint) -> bool:
    return point.is_nt_trial


def _is_black_box(pair: Pair, label: str) -> bool:
    return _name(pair, label) in BLACK_BOX


def _is_white_box(pair: Pair, label: str) -> bool:
    is_control = label.endswith(CONTROL) or _name(pair, label) in CONTROLS
    return not (is_control or _is_black_box(pair, label) or _is_graded(pair, label))


def _is_graded(pair: Pair, label: str) -> bool:
    """Whether the study has it in several strengths or losses: Figure 6 and Table S2 are made of such attacks."""
    return any(label in labels for name in ("steps", "eps", "loss") for labels in series_over(pair.suite, name))


def _name(pair: Pair, label: str) -> str:
    """The attack behind a label of the score tables."""
    return str(pair.suite.get(label, {"name": label})["name"])


def _change(case: str, pair: Pair, metric: str, setting: str = "") -> Evidence:
    """setting: what tells trials of one study apart, beside their scores."""
    by_seed = tuple(seed_changes(pair, SPLIT, metric))
    attack = metric.partition("/")[2] or DEFAULT_ATTACK
    identity = evidence_of((*pair.without, *pair.nt), SPLIT, attack)
    # Cases of one model may differ in the metric's attack, whose name then belongs to what is counted.
    return Evidence(
        case=case, change=change_of(pair, SPLIT, metric), by_seed=by_seed, identity=f"{identity} {metric} {setting}"
    )


def _white_against_black(pair: Pair) -> Evidence | None:
    white, black = (
        [suffixed("rmse_attacked", attack) for attack in pair.attacks if kind(pair, attack)]
        for kind in (_is_white_box, _is_black_box)
    )
    if not white or not black:
        return None

    def gap(table: pd.DataFrame) -> float:
        over_white, over_black = (np.mean([value(table, SPLIT, name) for name in names]) for names in (white, black))
        return float(over_white - over_black)

    by_seed = tuple(gap(nt) - gap(without) for without, nt in zip(pair.without, pair.nt, strict=False))
    labels = [name.partition("/")[2] or DEFAULT_ATTACK for name in (*white, *black)]
    identity = " ".join(evidence_of((*pair.without, *pair.nt), SPLIT, label) for label in labels)
    return Evidence(case=pair.name, change=over_seeds(by_seed), by_seed=by_seed, identity=identity)


def _varying(results: Sequence[StudyResult], parameter: str) -> list[StudyResult]:
    """Studies in which one of λ and h varies and the other does not."""
    other = {"lam": "step_size", "step_size": "lam"}[parameter]
    return [
        result
        for result in results
        for swept in [[point for point in result.front.points if _is_nt(point)]]
        if len({getattr(point, parameter) for point in swept}) >= FEWEST_POINTS
        and len({getattr(point, other) for point in swept}) == 1
    ]


def _trends(
    results: Sequence[StudyResult], along: Callable[[TrialPoint, pd.DataFrame], float], metric: str
) -> tuple[Evidence, ...]:
    """Spearman's correlation of `metric` with `along` over the trials of every study, the baseline among them."""
    evidence = []
    for result in results:
        trained = [point for point in result.front.points if not point.is_mixture]
        tables = [(point, result.tables(point.trial)) for point in trained]
        if len(tables) < FEWEST_POINTS:
            continue
        correlations = []
        for seed in range(min(len(of) for _, of in tables)):
            x = [along(point, of[seed]) for point, of in tables]
            y = [value(of[seed], SPLIT, metric) for _, of in tables]
            with warnings.catch_warnings(action="ignore", category=scipy.stats.ConstantInputWarning):
                correlations.append(float(scipy.stats.spearmanr(x, y).statistic))
        found = over_seeds(correlations)
        low, high = np.clip([found.low, found.high], -1.0, 1.0)
        change = Interval(value=found.value, low=float(low), high=float(high))
        # In whatever order the studies ran the trials.
        identity = " ".join(sorted(evidence_of(of, SPLIT) for _, of in tables))
        evidence.append(
            Evidence(case=result.front.study, change=change, by_seed=tuple(correlations), identity=identity)
        )
    return tuple(evidence)


def _per_step_size(results: Sequence[StudyResult]) -> tuple[Evidence, ...]:
    evidence = []
    for result in _varying(results, "step_size"):
        baseline = result.front.baseline
        if baseline is None:
            continue
        for point in sorted(filter(_is_nt, result.front.points), key=lambda point: point.step_size):
            pair = Pair(
                baseline=result.baseline,
                without=result.tables(baseline.trial),
                nt=result.tables(point.trial),
                data=result.data,
            )
            case = f"{result.front.study}, h = {point.step_size:g}"
            evidence.append(_change(case, pair, "rmse_attacked", setting=f"h = {point.step_size:g}"))
    return tuple(evidence)
