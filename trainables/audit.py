"""Is the robustness real, or are the gradients masked? What a score table says about it, by one stated rule.

A white-box attack knows more than a black-box one, its first step follows a gradient that means something, and random
noise follows nothing (Athalye et al. 2018, Carlini et al. 2019). So an attack's mean absolute score change, over that
of the white-box one-step attack, has an upper limit for a model whose gradients can be believed (`LIMITS`). Where an
attack may change pixels more than the one-step attack did, the latter's change is first scaled up by the ratio of the
two largest pixel changes, as for a linear model (Theorem 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.objectives import DEFAULT_ATTACK

LIMITS: dict[str, tuple[float, str]] = {
    "noise": (0.5, "random noise does nearly as well"),
    "transfer": (2.0, "images made on another model are clearly stronger"),
    "ifgsm": (2.0, "more steps are clearly stronger"),
    "apgd": (2.0, "more steps are clearly stronger"),
    "uap": (1.0, "a perturbation made without the model is stronger, budget for budget"),
    "kor": (1.0, "images made without the model are stronger, budget for budget"),
}
"""Attack -> largest believable ratio, and what a larger one says. On the embedded photos a small undefended model has
0.03 for noise, 1.3 for I-FGSM (small steps), 1.4 for APGD, below 0.1 for UAP and Kor; an NT model (λ = 1e-4) 0.03,
1.2, 1.2 and for images transferred from the undefended one 0.8."""

NEGLIGIBLE = 0.05
"""Mean change in MOS points below which an attack is not compared."""
RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One reason to doubt a model's robustness."""

    attack: str
    """Label of the attack that contradicts the one-step attack; that attack's own where its gradient is zero."""
    ratio: float
    """Its change over the one-step attack's, scaled to its budget."""
    limit: float
    message: str


def audit(
    scores: pd.DataFrame,
    split: str,
    *,
    claim: str = DEFAULT_ATTACK,
    names: Mapping[str, str] | None = None,
    seed: int = 0,
) -> list[Flag]:
    """Reasons to doubt what the white-box one-step attack `claim` says about the model; none if all is well.

    A limit counts as passed if 95 % of the bootstrap resamples of the images (drawn from `seed`) pass it.
    names: label -> attack name, for labels that do not begin with it; attacks without a limit are not judged.
    Raises ValueError when the table lacks `claim` on that split.
    """
    rows = scores[scores["split"] == split]
    by_label = {str(label): part.set_index("image") for label, part in rows.groupby("attack", sort=False)}
    if claim not in by_label:
        raise ValueError(f"the score table has no rows of split {split!r} and attack {claim!r} to audit")
    claimed = by_label.pop(claim)
    flags = []
    share_of_zero = float((claimed["gradient_l1"] == 0).mean())
    if share_of_zero > 0:
        message = f"{share_of_zero:.0%} of the images have a gradient of exactly zero, which gives {claim} no direction"
        flags.append(Flag(attack=claim, ratio=1.0, limit=1.0, message=message))
    for label, attacked in by_label.items():
        name = (names or {}).get(label) or _name_in(label)
        if name not in LIMITS or float(_change(attacked).mean()) < NEGLIGIBLE:
            continue
        limit, meaning = LIMITS[name]
        more_budget = max(1.0, float(attacked["max_delta"].max() / max(claimed["max_delta"].max(), 1e-12)))
        expected = more_budget * _change(claimed)
        ratio, lowest = _ratio(_change(attacked.loc[claimed.index]), expected, seed)
        if lowest > limit:
            message = f"{label}: {meaning} ({ratio:.2g} times the change of {claim}; up to {limit:g} is believable)"
            flags.append(Flag(attack=label, ratio=ratio, limit=limit, message=message))
    return flags


def _name_in(label: str) -> str:
    return next((name for name in LIMITS if label.startswith(name)), label)


def _change(rows: pd.DataFrame) -> NDArray[np.float64]:
    return np.abs(rows["attacked_score"].to_numpy() - rows["clean_score"].to_numpy())


def _ratio(change: NDArray[np.float64], expected: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Ratio of the means, and the lower end of its one-sided bootstrap interval."""
    drawn = np.random.default_rng(seed).integers(0, len(change), (RESAMPLES, len(change)))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = change[drawn].mean(1) / expected[drawn].mean(1)
        ratio = np.divide(change.mean(), expected.mean())
    # "lower": no interpolation, which infinite ratios (nothing was expected) would turn into NaN.
    return float(ratio), float(np.quantile(ratios, 1 - CONFIDENCE, method="lower"))
