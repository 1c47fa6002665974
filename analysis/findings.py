"""Which of the paper's observations some studies bear out: claim by claim, with intervals, as plain text.

The claims are those of Section 5 of the paper and its supplement; each is tested on test images by a difference or a
trend. What counts as one case, and when a case is decided, is said in `as_text`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.stats

from analysis.attack_families import does_nothing, families, is_black_box, is_graded, is_white_box, of_most_seeds
from analysis.changes import change, share_taken
from analysis.front import TrialPoint
from analysis.identity import evidence_of, once
from analysis.labels import number
from analysis.metrics import Interval, Sample, value
from analysis.report_figures import SPLIT, StudyResult
from analysis.squeeze import as_lines, squeezes
from analysis.tables import Pair, suffixed
from analysis.verdicts import SMALLEST, SMALLEST_CUT, Claim, Verdict, correlation_interval, smallest_effect, verdict
from trainables.objectives import DEFAULT_ATTACK
from trainables.record import CONTROL

FEWEST_TRIALS = 3
"""That a trend needs."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    case: str
    change: Interval
    by_seed: tuple[float, ...]
    smallest: float = 0.0
    """The smallest change of interest."""
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
            evidence=_least_per_budget(pairs),
        ),
    ]
    return [
        replace(finding, evidence=tuple(once([(one.identity, one) for one in finding.evidence])))
        for finding in found
        if finding.evidence
    ]


HOW = f"""A model's name stands for its study's knee (or most robust trial, where that is λ = 0) against λ = 0.

**What counts.** The knee was chosen on validation images of the study's own seed, so that seed is not counted where
there are others; models at the paper's λ and h, and sweeps, were fixed beforehand, so all their seeds are. Measured on
{SPLIT} images. Models that studies share count once, and so do attacks that climb the same gradient within the same
box: FGSM, I-FGSM and APGD at one eps are one case, the mean of those that the most seeds were attacked with.

**When it counts.** Intervals are 95 %, over photographs (all images made of one are drawn together) and training seeds.
A case holds where the interval lies on the claimed side of 0 and the mean is no smaller than what is of interest:
{SMALLEST["srocc"]:g} of a correlation, {SMALLEST["rmse"]:g} MOS points, {SMALLEST["r_robustness"]:g} of R,
{SMALLEST["gradient_l1"]:g} of the gradient's norm (half a point under FGSM), {100 * SMALLEST_CUT:g} % of attacked RMSE.
It does not hold where the same is so of the other side. There is no effect where the whole interval is smaller than
that. All else is undecided, which may hide effects of either sign. Correlations over trials have intervals over these
trials, by Fisher's z; few trials leave even a perfect order undecided."""
"""How the account is to be read."""


def as_text(found: Sequence[Finding], results: Sequence[StudyResult], pairs: Sequence[Pair] = ()) -> str:
    """The account as Markdown: a line per claim, then each claim's cases, then what the audit doubts."""
    verdicts = [Counter(verdict_of(one, finding) for one in finding.evidence) for finding in found]
    studies = ", ".join(result.front.study for result in results)
    doubted = [f"- {result.front.study}: {result.front.doubt}." for result in results if result.front.doubt]
    lines = [
        "# What these studies bear out",
        "",
        f"Studies: {studies}. {HOW}",
        "",
        *_left_out(pairs),
        *([*doubted, ""] if doubted else []),
        "| claim | the paper | holds | does not | no effect | undecided |",
        "|---|---|---:|---:|---:|---:|",
        *(
            f"| {finding.statement} | {finding.source} | {count['holds']} | {count['does not hold']} "
            f"| {count['no effect']} | {count['undecided']} |"
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
                f"| {verdict_of(one, finding)} |"
                for one in finding.evidence
            ),
        ]
    squeezed = as_lines(squeezes(pairs, SPLIT)) if pairs else []
    return "\n".join([*lines, "", *squeezed, *_doubts(results), ""])


def _under_attack(pairs: Sequence[Pair]) -> list[Finding]:
    return [
        Finding(
            statement="NT lessens what white-box attacks do to scores",
            source="Table 2",
            quantity="change of attacked RMSE through NT",
            claim="falls",
            evidence=_per_attack(pairs, "rmse_attacked", is_white_box),
        ),
        Finding(
            statement="NT keeps the order of scores under white-box attacks",
            source="Table 3",
            quantity="change of SROCC before–after attack through NT",
            claim="rises",
            evidence=_per_attack(pairs, "srocc_attacked", is_white_box),
        ),
        Finding(
            statement="NT keeps attacked scores in agreement with MOS under white-box attacks",
            source="Table 3, left half",
            quantity="change of SROCC between MOS and attacked scores through NT",
            claim="rises",
            evidence=_per_attack(pairs, "srocc_mos_attacked", is_white_box),
        ),
        Finding(
            statement="NT lessens what black-box attacks do to scores",
            source="Table 2",
            quantity="change of attacked RMSE through NT",
            claim="falls",
            evidence=_per_attack(pairs, "rmse_attacked", is_black_box),
        ),
        Finding(
            statement="It helps more against white-box attacks than against black-box ones, in points",
            source="Table S7",
            quantity="mean ΔRMSE under white-box attacks minus that under black-box attacks",
            claim="falls",
            evidence=tuple(_white_against_black(pairs, _absolute)),
        ),
        Finding(
            statement="It helps more against white-box attacks than against black-box ones, in proportion",
            source="not in the paper",
            quantity="share of attacked RMSE that NT takes away under white-box attacks minus that under black-box "
            "ones, whose budgets are larger: in the paper 0.005 against 0.04 and more",
            claim="rises",
            evidence=tuple(replace(one, smallest=SMALLEST_CUT) for one in _white_against_black(pairs, _relative)),
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
        _mean_change(f"{pair.name}, {family.name}", pair, [suffixed(metric, label) for label in family.labels])
        for pair in pairs
        for family in families(pair, wanted)
    )


def _least_per_budget(pairs: Sequence[Pair]) -> tuple[Evidence, ...]:
    """Of all forms of an attack at one eps the one against which NT helps least."""
    return tuple(
        replace(least, case=f"{least.case}, the least of {family.name}")
        for pair in pairs
        for family in families(pair, is_graded)
        for cases in [
            [_mean_change(f"{pair.name}, {of}", pair, [suffixed("rmse_attacked", of)]) for of in family.labels]
        ]
        for least in [max(cases, key=lambda case: case.change.value)]
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


def verdict_of(evidence: Evidence, finding: Finding) -> Verdict:
    """What a case says of its claim."""
    return verdict(evidence.change, finding.claim, evidence.smallest)


def _left_out(pairs: Sequence[Pair]) -> list[str]:
    """The attacks that count as no white-box attack because they do nothing, with what they do."""
    lines = []
    for pair in pairs:
        for label in pair.attacks:
            if does_nothing(pair, label):
                moved = [
                    number(pair.sample(False, SPLIT, suffixed("rmse_attacked", of)).interval().value)
                    for of in (label, f"{label}{CONTROL}")
                ]
                lines.append(f"- {pair.name}, {label}: moves λ = 0 by {moved[0]} points, its start alone by {moved[1]}")
    if not lines:
        return []
    return ["Attacks that are not shown to do more than their control are in none of the counts:", "", *lines, ""]


def _text(change: Interval) -> str:
    if not np.isfinite([change.low, change.high]).all():
        return number(change.value)
    return f"{number(change.value)} [{number(change.low)}, {number(change.high)}]"


def _is_nt(point: TrialPoint) -> bool:
    return point.is_nt_trial


def _change(case: str, pair: Pair, metric: str, setting: str = "") -> Evidence:
    return _mean_change(case, pair, [metric], setting)


def _mean_change(case: str, pair: Pair, metrics: Sequence[str], setting: str = "") -> Evidence:
    """setting: what tells trials of one study apart, beside their scores."""
    # Cases of one model may differ in the metric's attack, whose name then belongs to what is counted.
    labels = [metric.partition("/")[2] or DEFAULT_ATTACK for metric in metrics]
    identity = f"{_identity(pair, labels)} {' '.join(metrics)} {setting}"
    return _evidence(case, change(pair, SPLIT, metrics), smallest_effect(metrics[0]), identity)


def _evidence(case: str, measured: Sample, smallest: float, identity: str) -> Evidence:
    return Evidence(
        case=case,
        change=measured.interval(),
        by_seed=tuple(map(float, measured.values)),
        smallest=smallest,
        identity=identity,
    )


def _identity(pair: Pair, labels: Sequence[str]) -> str:
    return " ".join(evidence_of(pair.both(label), SPLIT, label) for label in labels)


def _white_against_black(pairs: Sequence[Pair], measure: Callable[[Pair, Sequence[str]], Sample]) -> list[Evidence]:
    """What NT changes under white-box attacks minus what it changes under black-box ones; an attack each, as paper."""
    found = []
    for pair in pairs:
        white, black = (
            of_most_seeds(pair, [label for label in pair.attacks if kind(pair, label)])
            for kind in (is_white_box, is_black_box)
        )
        if white and black:
            measured = measure(pair, white) - measure(pair, black)
            found.append((pair, measured, _identity(pair, [*white, *black])))
    return [_evidence(pair.name, measured, SMALLEST["rmse"], identity) for pair, measured, identity in found]


def _absolute(pair: Pair, labels: Sequence[str]) -> Sample:
    return change(pair, SPLIT, [suffixed("rmse_attacked", label) for label in labels])


def _relative(pair: Pair, labels: Sequence[str]) -> Sample:
    return share_taken(pair, SPLIT, [suffixed("rmse_attacked", label) for label in labels])


def _varying(results: Sequence[StudyResult], parameter: str) -> list[StudyResult]:
    """Studies in which one of λ and h varies and the other does not."""
    other = {"lam": "step_size", "step_size": "lam"}[parameter]
    return [
        result
        for result in results
        for swept in [[point for point in result.front.points if _is_nt(point)]]
        if len({getattr(point, parameter) for point in swept}) >= FEWEST_TRIALS
        and len({getattr(point, other) for point in swept}) == 1
    ]


def _trends(
    results: Sequence[StudyResult], along: Callable[[TrialPoint, pd.DataFrame], float], metric: str
) -> tuple[Evidence, ...]:
    """Spearman's correlation of `metric` with `along` over the trials of every study, the baseline among them.

    Its mean over seeds, with the interval of one seed's trials: seeds repeat the same few values of λ.
    """
    evidence = []
    for result in results:
        trained = [point for point in result.front.points if not point.is_mixture]
        tables = [(point, result.tables(point.trial)) for point in trained]
        if len(tables) < FEWEST_TRIALS:
            continue
        correlations = []
        for seed in range(min(len(of) for _, of in tables)):
            x = [along(point, of[seed]) for point, of in tables]
            y = [value(of[seed], SPLIT, metric) for _, of in tables]
            with warnings.catch_warnings(action="ignore", category=scipy.stats.ConstantInputWarning):
                correlations.append(float(scipy.stats.spearmanr(x, y).statistic))
        found = correlation_interval(float(np.mean(correlations)), len(tables))
        # In whatever order the studies ran the trials.
        identity = " ".join(sorted(evidence_of(of, SPLIT) for _, of in tables))
        evidence.append(Evidence(case=result.front.study, change=found, by_seed=tuple(correlations), identity=identity))
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
