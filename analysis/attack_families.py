"""Which attacks of a study are one piece of evidence, and which are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.attack_series import series_over
from analysis.labels import number
from analysis.paper import BLACK_BOX
from analysis.tables import Pair, suffixed
from analysis.verdicts import smallest_effect, verdict
from trainables.record import CONTROL

CONTROLS = ("noise", "transfer")
"""No attacks to claim a gain against: noise, and images made on the λ = 0 baseline, which are white box to it alone."""
GRADIENT = ("fgsm", "ifgsm", "apgd", "rank", "mad")
"""Attacks that climb the same gradient within the same box: at one eps they are one case, not several."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Attacks that count as one case."""

    labels: tuple[str, ...]
    eps: float | None = None
    """Their common budget in [0, 1] pixels, where they have one."""

    @property
    def name(self) -> str:
        listed = " + ".join(self.labels) if len(self.labels) <= 4 else f"{len(self.labels)} forms"
        return listed if self.eps is None else f"{listed} (eps {number(self.eps)})"


def families(pair: Pair, wanted: Callable[[Pair, str], bool]) -> list[Family]:
    """The attacks of a pair that are `wanted`, those of one kind and budget together, in the order of the tables."""
    found: dict[tuple[str, float | None], list[str]] = {}
    for label in pair.attacks:
        if wanted(pair, label):
            is_gradient = _name(pair, label) in GRADIENT
            key = ("gradient", pair.suite.get(label, {}).get("eps")) if is_gradient else (label, None)
            found.setdefault(key, []).append(label)
    return [Family(labels=tuple(of_most_seeds(pair, labels)), eps=eps) for (_, eps), labels in found.items()]


def of_most_seeds(pair: Pair, labels: Sequence[str]) -> list[str]:
    """Those of some attacks that both models were attacked with under the most seeds: a mean over several attacks has
    the seeds that all of them have."""
    most = max((pair.seeds(label) for label in labels), default=0)
    return [label for label in labels if pair.seeds(label) == most]


def is_black_box(pair: Pair, label: str) -> bool:
    return _name(pair, label) in (*BLACK_BOX, "square", "rank_square")


def is_graded(pair: Pair, label: str) -> bool:
    """Whether the study has it in several strengths or losses: Figure 6 and Table S2 are made of such attacks."""
    return any(label in labels for name in ("steps", "eps", "loss") for labels in series_over(pair.suite, name))


def is_white_box(pair: Pair, label: str) -> bool:
    """Whether it looks at the model and does something: a control and an attack that does nothing are none."""
    is_control = label.endswith(CONTROL) or _name(pair, label) in CONTROLS
    is_other = is_control or is_black_box(pair, label) or is_graded(pair, label)
    return not is_other and not does_nothing(pair, label)


def does_nothing(pair: Pair, label: str, split: str = "test") -> bool:
    """Whether an attack with a control is not shown to move the model without NT by more than the control does."""
    control = f"{label}{CONTROL}"
    if control not in pair.attacks:
        return False
    with_it, without_it = (pair.sample(False, split, suffixed("rmse_attacked", of)) for of in (label, control))
    change = (with_it - without_it).interval()
    return verdict(change, "rises", smallest_effect("rmse_attacked")) != "holds"


def _name(pair: Pair, label: str) -> str:
    """The attack behind a label of the score tables."""
    return str(pair.suite.get(label, {"name": label})["name"])
