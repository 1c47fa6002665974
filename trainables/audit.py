"""Is the robustness real, or are the gradients masked? What a score table says about it, by stated rules.

A small effect of a white-box attack shows robustness only where its gradient leads anywhere (Athalye et al. 2018,
Carlini et al. 2019). So the table is asked what a masked gradient cannot hide:

- more steps of the same budget help little, and noise hardly at all (`LIMITS`); a model that was trained against one
  step and breaks this has overfitted to it (catastrophic overfitting);
- attacks without the model's gradients, made on another model or by queries, do not beat the white-box ones;
- a small step along the gradient's sign changes the score by what the gradient says (`linear_change`), and the whole
  step by no more;
- a larger budget moves scores further, up to much of their range;
- an image that is scored twice has one score.

Each rule takes the attacks that the table has; which a suite should have for all of them: `docs/audit.md`. A limit
counts as passed if 95 % of the bootstrap resamples of the photographs pass it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.objectives import DEFAULT_ATTACK

Numbers = NDArray[np.float64]

ONE_STEP = ("fgsm",)
MANY_STEPS = ("ifgsm", "apgd")
WHITE_BOX = (*ONE_STEP, *MANY_STEPS)
"""Attacks that follow the model's own gradient within a budget."""
WITHOUT_GRADIENT = ("transfer", "square", "uap", "kor")
"""Attacks that never ask for it."""

LIMITS: dict[str, tuple[float, str]] = {
    "noise": (0.5, "random noise does nearly as well"),
    "ifgsm": (2.0, "more steps are clearly stronger"),
    "apgd": (2.0, "more steps are clearly stronger"),
}
"""Attack -> largest believable ratio of its mean absolute score change to that of the one-step attack of the same
budget, and what a larger one says. Measured: `docs/audit.md`."""
LIMIT_WITHOUT_GRADIENT = 1.0
"""The same for attacks without the gradient and the best of the white-box ones."""
LIMIT_AGAINST_ONE_STEP = 2.0
"""In its place where the table has no white-box attack of many steps, which an honest model's one-step attack falls
short of."""

OVERFITTED = (
    "catastrophic overfitting: training on one-step attacks has made the model robust to these alone; train with more "
    "steps, from a random start or at a smaller eps"
)
"""Wong et al., ICLR 2020; Andriushchenko & Flammarion, NeurIPS 2020."""

SMALL_STEP = 0.001
"""White-box attacks of at most this budget are read as a finite difference."""
LIMIT_MISFIT = 0.15
"""Largest believable mean distance of a small step's score change from the gradient's, as a share of the latter."""
LIMIT_BEYOND_LINEAR = 1.2
"""Largest believable score change of the one-step attack, in terms of what the gradient says."""

RISE = 1.0
"""Largest believable ratio of the score change under a budget to that under the next larger one."""
WIDE_BUDGET = 0.25
LIMIT_WIDE = 4.0
"""Under a budget of at least `WIDE_BUDGET`, which spoils any image, the mean score change has to be at least the
standard deviation of the clean scores over this."""

NEGLIGIBLE = 0.05
"""Mean change in MOS points below which an attack is not compared."""
REPEATABLE = 0.01
"""MOS points by which two scores of one image may differ: far above rounding, far below any attack's effect."""
RESAMPLES = 1000
CONFIDENCE = 0.95
FEWEST_PHOTOGRAPHS = 5
"""With fewer, images are resampled one by one."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One reason to doubt a model's robustness."""

    rule: str
    """Which rule it breaks, in a word or two."""
    attack: str
    """Label of the attack that gives it away."""
    ratio: float
    """What was measured; `message` says of what."""
    limit: float
    """Up to which it would be believable."""
    message: str


def audit(
    scores: pd.DataFrame,
    split: str,
    *,
    claim: str = DEFAULT_ATTACK,
    names: Mapping[str, str] | None = None,
    trained_on_one_step: bool = False,
    seed: int = 0,
) -> list[Flag]:
    """Reasons to doubt what the white-box one-step attack `claim` says about the model; none if all is well.

    names: label -> attack name, for labels that do not begin with it; attacks that no rule knows are not judged.
    trained_on_one_step: whether the model saw adversarial images of one gradient step in training; more steps that are
    clearly stronger are then called by their name. seed: of the resamples. Raises ValueError when the table lacks
    `claim` on that split.
    """
    rows = scores[scores["split"] == split]
    by_label = {str(label): part.set_index("image") for label, part in rows.groupby("attack", sort=False)}
    if claim not in by_label:
        raise ValueError(f"the score table has no rows of split {split!r} and attack {claim!r} to audit")
    evidence = _Evidence(by_label, claim, names or {}, seed, trained_on_one_step)
    return [flag for rule in RULES for flag in rule(evidence)]


class _Evidence:
    """The attacks of a table, image by image in one order, and how to resample them."""

    def __init__(
        self,
        tables: dict[str, pd.DataFrame],
        claim: str,
        names: Mapping[str, str],
        seed: int,
        trained_on_one_step: bool,
    ) -> None:
        images = tables[claim].index
        self.tables = {label: table.loc[images] for label, table in tables.items()}
        self.claim = claim
        self.trained_on_one_step = trained_on_one_step
        self._names = names
        self._weights = _resample_weights(self.tables[claim]["content"].to_numpy(), seed)

    def labels(self, names: Sequence[str]) -> list[str]:
        """Labels, other than the claim's, of the attacks with these names."""
        return [label for label in self.tables if label != self.claim and self.name(label) in names]

    def name(self, label: str) -> str:
        known = (*WHITE_BOX, *WITHOUT_GRADIENT, "noise", "again")
        return self._names.get(label) or next((name for name in known if label.startswith(name)), label)

    def change(self, label: str) -> Numbers:
        """Each image's score change, signed."""
        table = self.tables[label]
        return table["attacked_score"].to_numpy() - table["clean_score"].to_numpy()

    def linear(self, label: str) -> Numbers:
        """The same as the clean gradient foretells it; NaN in tables that do not say."""
        table = self.tables[label]
        return table["linear_change"].to_numpy() if "linear_change" in table else np.full(len(table), np.nan)

    def budget(self, label: str) -> float:
        return float(self.tables[label]["max_delta"].max())

    def ratio(self, measured: Numbers, reference: Numbers) -> tuple[float, float]:
        """Ratio of the means, and the lower end of its one-sided bootstrap interval."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = (self._weights @ measured) / (self._weights @ reference)
            ratio = np.divide(measured.mean(), reference.mean())
        # "lower": no interpolation, which infinite ratios (nothing was expected) would turn into NaN.
        return float(ratio), float(np.quantile(ratios, 1 - CONFIDENCE, method="lower"))


def _resample_weights(photographs: NDArray[np.object_], seed: int) -> Numbers:
    """(RESAMPLES, N): how often each image counts. Versions of one photograph go together, for they fare alike."""
    codes, found = pd.factorize(photographs)
    if len(found) < FEWEST_PHOTOGRAPHS:
        codes = np.arange(len(photographs))
    size = int(codes.max()) + 1
    drawn = np.random.default_rng(seed).integers(0, size, (RESAMPLES, size))
    counts = np.stack([np.bincount(draw, minlength=size) for draw in drawn])
    return counts[:, codes].astype(np.float64)


def _zero_gradient(evidence: _Evidence) -> Iterator[Flag]:
    share = float((evidence.tables[evidence.claim]["gradient_l1"] == 0).mean())
    if share > 0:
        message = (
            f"{share:.0%} of the images have a gradient of exactly zero, which gives {evidence.claim} no direction"
        )
        yield Flag(rule="zero gradient", attack=evidence.claim, ratio=1.0, limit=1.0, message=message)


def _against_one_step(evidence: _Evidence) -> Iterator[Flag]:
    """Noise and more steps; where they may change pixels more, the one-step change is scaled up (Theorem 1)."""
    claimed, budget = np.abs(evidence.change(evidence.claim)), evidence.budget(evidence.claim)
    for label in evidence.labels(tuple(LIMITS)):
        change = np.abs(evidence.change(label))
        if change.mean() < NEGLIGIBLE:
            continue
        limit, meaning = LIMITS[evidence.name(label)]
        more_budget = max(1.0, evidence.budget(label) / max(budget, 1e-12))
        ratio, lowest = evidence.ratio(change, more_budget * claimed)
        if lowest > limit:
            message = f"{label}: {meaning} ({ratio:.2g} times the change of {evidence.claim}"
            message = f"{message}; up to {limit:g} is believable)"
            rule = "noise" if evidence.name(label) == "noise" else "more steps"
            if rule == "more steps" and evidence.trained_on_one_step:
                rule, message = "catastrophic overfitting", f"{message}; {OVERFITTED}"
            yield Flag(rule=rule, attack=label, ratio=ratio, limit=limit, message=message)


def _without_gradient(evidence: _Evidence) -> Iterator[Flag]:
    """Attacks that cannot be misled by a gradient, against the strongest that follow it, image by image."""
    white = [evidence.claim, *evidence.labels(WHITE_BOX)]
    for label in evidence.labels(WITHOUT_GRADIENT):
        change, budget = np.abs(evidence.change(label)), evidence.budget(label)
        if change.mean() < NEGLIGIBLE:
            continue
        largest = min((own for own in map(evidence.budget, white) if own >= 0.95 * budget), default=np.inf)
        rivals = [rival for rival in white if evidence.budget(rival) <= largest]
        best = np.max([np.abs(evidence.change(rival)) for rival in rivals], axis=0)
        widest = max(map(evidence.budget, rivals))
        has_many_steps = any(evidence.name(rival) in MANY_STEPS for rival in rivals)
        limit = LIMIT_WITHOUT_GRADIENT if has_many_steps else LIMIT_AGAINST_ONE_STEP
        ratio, lowest = evidence.ratio(change, max(1.0, budget / max(widest, 1e-12)) * best)
        if lowest > limit:
            message = (
                f"{label}: it needs no gradient of the model and moves scores {ratio:.2g} times as far as the best "
                f"white-box attack (up to {limit:g} is believable)"
            )
            yield Flag(rule="no gradient needed", attack=label, ratio=ratio, limit=limit, message=message)


def _small_step(evidence: _Evidence) -> Iterator[Flag]:
    """A finite difference along the gradient's sign: a gradient that is not the score's own does not foretell it."""
    for label in evidence.labels(WHITE_BOX):
        foretold = evidence.linear(label)
        if evidence.budget(label) > SMALL_STEP or np.isnan(foretold).any():
            continue
        ratio, lowest = evidence.ratio(np.abs(evidence.change(label) - foretold), np.abs(foretold))
        if lowest > LIMIT_MISFIT:
            message = (
                f"{label}: after a small step scores are {ratio:.2g} of the gradient's own forecast away from it (up "
                f"to {LIMIT_MISFIT:g} is believable); the gradient is not that of the score"
            )
            yield Flag(rule="small step", attack=label, ratio=ratio, limit=LIMIT_MISFIT, message=message)


def _beyond_linear(evidence: _Evidence) -> Iterator[Flag]:
    """A gradient that is small at the clean image only, as on a plateau, says nothing about a step of the budget."""
    foretold = np.abs(evidence.linear(evidence.claim))
    if np.isnan(foretold).any() or np.abs(evidence.change(evidence.claim)).mean() < NEGLIGIBLE:
        return
    ratio, lowest = evidence.ratio(np.abs(evidence.change(evidence.claim)), foretold)
    if lowest > LIMIT_BEYOND_LINEAR:
        message = (
            f"{evidence.claim}: scores move {ratio:.2g} times as far as the gradient foretells (up to "
            f"{LIMIT_BEYOND_LINEAR:g} is believable); its norm is no measure of robustness"
        )
        yield Flag(rule="beyond linear", attack=evidence.claim, ratio=ratio, limit=LIMIT_BEYOND_LINEAR, message=message)


def _sweep(evidence: _Evidence) -> Iterator[Flag]:
    """White-box attacks of many steps over growing budgets: scores have to go with them, and in the end far."""
    budget = evidence.budget(evidence.claim)
    labels = [label for label in evidence.labels(MANY_STEPS) if evidence.budget(label) > 0.95 * budget]
    labels.sort(key=evidence.budget)
    for smaller, larger in itertools.pairwise(labels):
        if evidence.budget(larger) < 1.5 * evidence.budget(smaller):
            continue
        ratio, lowest = evidence.ratio(np.abs(evidence.change(smaller)), np.abs(evidence.change(larger)))
        if lowest > RISE:
            message = (
                f"{larger}: a larger budget than that of {smaller} moves scores less ({1 / ratio:.2g} times as far)"
            )
            yield Flag(rule="wider budget", attack=larger, ratio=ratio, limit=RISE, message=message)
    if labels and evidence.budget(labels[-1]) >= WIDE_BUDGET:
        spread = np.full(len(evidence.tables[evidence.claim]), evidence.tables[evidence.claim]["clean_score"].std())
        ratio, lowest = evidence.ratio(spread, np.abs(evidence.change(labels[-1])))
        if lowest > LIMIT_WIDE:
            message = (
                f"{labels[-1]}: a budget that spoils images moves scores by {1 / ratio:.2g} of their spread only "
                f"({1 / LIMIT_WIDE:g} is the least that is believable); the attack is led astray"
            )
            yield Flag(rule="wider budget", attack=labels[-1], ratio=ratio, limit=LIMIT_WIDE, message=message)


def _scored_again(evidence: _Evidence) -> Iterator[Flag]:
    for label in evidence.labels(("again",)):
        change = float(np.abs(evidence.change(label)).mean())
        if change > REPEATABLE:
            message = (
                f"{label}: an image that is scored twice has two scores, {change:.2g} apart on average; attack the "
                "mean over the model's chance (EOT) instead of one draw of it"
            )
            yield Flag(rule="scored again", attack=label, ratio=change, limit=REPEATABLE, message=message)


RULES: tuple[Callable[[_Evidence], Iterator[Flag]], ...] = (
    _zero_gradient,
    _against_one_step,
    _without_gradient,
    _small_step,
    _beyond_linear,
    _sweep,
    _scored_again,
)
