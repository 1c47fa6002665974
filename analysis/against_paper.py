"""The paper beside what some studies found: each of its claims, tables and figures, and whether they agree.

Made of the same findings and tables as the rest of a report. Agreement is of direction: networks, images and scores may
be others than the paper's, and numbers then cannot agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from analysis.findings import Finding, verdict_of
from analysis.labels import number
from analysis.metrics import Interval
from analysis.paper import BLACK_BOX, WHITE_BOX, paper_averages, printed
from analysis.tables import Cell, Table
from analysis.verdicts import smallest_effect, verdict
from trainables.objectives import objective

MODELS = ("hyperiqa", "dbcnn", "linearityiqa", "maniqa")
AGREE, DISAGREE, CANNOT_TELL = "agree", "disagree", "cannot tell"
FIGURES = (
    (
        "1, S1 to S4",
        "Change of each image's score under the four attacks",
        "NT lessens what white-box attacks do to scores",
    ),
    ("4", "Distribution of the gradient's L1 norm", "NT shrinks the input gradient"),
    (
        "5",
        "Robustness under UAP over the log mean gradient norm",
        "The smaller a model's gradient, the more robust it is",
    ),
    (
        "6",
        "RMSE and SROCC over SSIM under I-FGSM",
        "NT lessens what an attack does to scores whatever its steps, eps and loss",
    ),
    ("7, S5 (robustness)", "Attacked RMSE over λ", "The larger λ, the less an attack does to scores"),
    ("7, S5 (accuracy)", "Clean SROCC over λ", "The larger λ, the less accurate on clean images"),
    ("S6 to S8", "Adversarial examples", ""),
)
"""The paper's figures, and the claim that each of them shows."""


def against_paper(found: Sequence[Finding], tables: Sequence[Table]) -> str:
    """The page, as Markdown."""
    said = {finding.statement: _agreement(_verdicts(finding)) for finding in found}
    return "\n".join(
        [
            "# Against the paper",
            "",
            "Each claim, table and figure of the paper, what these studies found, and whether the two agree. Only "
            "directions can: networks, images and scores are other ones. *Agree*: at least half of our cases are "
            "decided the paper's way, and for each that is decided the other way five. *Disagree*: more are decided "
            "against it, or shown to be no effect, than for it. Else *cannot tell*. What a case is, and when it is "
            "decided: [findings.md](findings.md).",
            "",
            "## Claims",
            "",
            "| claim | the paper prints | ours | |",
            "|---|---|---|---|",
            *(_claim(finding, said[finding.statement]) for finding in found),
            "",
            "## Tables",
            "",
            "Cells in which the paper's values of both models, or its change, stand beside ours.",
            "",
            "| table | cells | ours decided as the paper's | the other way | no effect | undecided | |",
            "|---|---:|---:|---:|---:|---:|---|",
            *(_table(table) for table in tables),
            "",
            "## Figures",
            "",
            "| figure | what it shows | |",
            "|---|---|---|",
            *(f"| {key} | {what} | {_of_figure(claim, said)} |" for key, what, claim in FIGURES),
            "",
        ]
    )


def _claim(finding: Finding, agreement: str) -> str:
    count = _verdicts(finding)
    ours = f"{count['holds']} of {len(finding.evidence)} cases hold"
    rest = [f"{count[name]} {name}" for name in ("does not hold", "no effect", "undecided") if count[name]]
    ours += f" ({', '.join(rest)})" if rest else ""
    return f"| {finding.statement} | {finding.source}: {_in_print(finding)} | {ours} | {agreement} |"


def _in_print(finding: Finding) -> str:
    changes = printed_changes(finding.statement)
    if not changes:
        return "no numbers"
    sided = sum(change < 0 if finding.claim == "falls" else change > 0 for change in changes)
    return f"{sided} of {len(changes)} so, median {number(float(np.median(changes)))}"


def printed_changes(statement: str) -> list[float]:
    """What the paper prints of a claim's quantity, a number per model and attack; none where it only draws it."""
    averages = paper_averages().pivot(index="baseline", columns="kind", values="rmse_attacked")
    found: Mapping[str, list[float]] = {
        "NT lessens what white-box attacks do to scores": _changes("rmse_attacked", WHITE_BOX),
        "NT keeps the order of scores under white-box attacks": _changes("srocc_attacked", WHITE_BOX),
        "NT keeps attacked scores in agreement with MOS under white-box attacks": _changes(
            "srocc_mos_attacked", WHITE_BOX
        ),
        "NT lessens what black-box attacks do to scores": _changes("rmse_attacked", BLACK_BOX),
        "It helps more against white-box attacks than against black-box ones, in points": list(
            averages["white box"] - averages["black box"]
        ),
        "It helps more against white-box attacks than against black-box ones, in proportion": _shares(),
        "The price is some accuracy on clean images": _changes("srocc", ("",)),
        "NT lessens what an attack does to scores whatever the step size h": [
            value - _printed("dbcnn", False, "rmse_attacked", "fgsm")
            for step_size in (0.001, 0.01, 0.1, 1.0)
            if (value := printed("dbcnn", True, "rmse_attacked", "fgsm", step_size=step_size)) is not None
        ],
    }
    return found.get(statement, [])


def _changes(metric: str, attacks: Sequence[str]) -> list[float]:
    return [
        _printed(model, True, metric, attack) - _printed(model, False, metric, attack)
        for model in MODELS
        for attack in attacks
    ]


def _shares() -> list[float]:
    """The share of attacked RMSE that NT takes away, white box minus black box, of each model."""

    def share(model: str, attacks: Sequence[str]) -> float:
        kept = [
            _printed(model, True, "rmse_attacked", attack) / _printed(model, False, "rmse_attacked", attack)
            for attack in attacks
        ]
        return 1 - float(np.mean(kept))

    return [share(model, WHITE_BOX) - share(model, BLACK_BOX) for model in MODELS]


def _printed(model: str, nt: bool, metric: str, attack: str) -> float:
    value = printed(model, nt, metric, attack)
    assert value is not None, f"the paper prints {metric} of {model} under {attack or 'no attack'}"
    return value


def _verdicts(finding: Finding) -> Counter[str]:
    return Counter(verdict_of(one, finding) for one in finding.evidence)


def _agreement(count: Counter[str]) -> str:
    against = count["does not hold"] + count["no effect"]
    if 2 * count["holds"] >= count.total() > 0 and count["holds"] >= 5 * count["does not hold"]:
        return AGREE
    return DISAGREE if against > count["holds"] else CANNOT_TELL


def _table(table: Table) -> str:
    count = Counter(said for _, cells in table.rows for cell in cells if (said := _cell_verdict(table, cell)))
    if not count:
        why = f"{CANNOT_TELL}: the paper prints none of these cells"
        return f"| {table.key}. {table.caption} | 0 | – | – | – | – | {why} |"
    return (
        f"| {table.key}. {table.caption} | {count.total()} | {count['holds']} | {count['does not hold']} "
        f"| {count['no effect']} | {count['undecided']} | {_agreement(count)} |"
    )


def _cell_verdict(table: Table, cell: Cell) -> str:
    """Whether our change is decided the way the paper's goes; empty where the paper prints none, or no difference."""
    prints = [entry.printed for entry in cell.entries if entry.printed is not None]
    if len(cell.entries) == 2 == len(prints) and prints[0] != prints[1]:
        if cell.is_tie:
            return "no effect"
        is_gain = (prints[1] > prints[0]) == (objective(cell.metric).direction == "maximize")
        decided = [entry.is_better for entry in cell.entries]
        return "undecided" if not any(decided) else "holds" if decided[1] == is_gain else "does not hold"
    if table.key == "S7" and prints:
        (entry,) = cell.entries
        found = Interval(value=entry.value, low=entry.low, high=entry.high)
        return verdict(found, "rises" if prints[0] > 0 else "falls", smallest_effect(cell.metric))
    return ""


def _of_figure(claim: str, said: Mapping[str, str]) -> str:
    if not claim:
        return f"{CANNOT_TELL}: examples need weights, which records do not keep"
    return said.get(claim, f"{CANNOT_TELL}: not in these studies")
