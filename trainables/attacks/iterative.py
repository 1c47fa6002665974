"""FGSM and I-FGSM (supplement S12 to S15): sign steps on the pixels, projected to the budget's box."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from trainables.attacks.base import CleanPass, clean_pass, require_eps
from trainables.attacks.constraint import project
from trainables.attacks.direction import Directed
from trainables.gradients import Score, final_scores
from trainables.models.scorer import IMAGENET_MEAN, IMAGENET_STD, Scorer
from trainables.written import Real, Whole

Slope = Callable[[Tensor, Tensor], Tensor]
"""(scores, references), both (N,) -> d loss / d score, (N,); the attack ascends the loss."""


def slope_mae(score: Tensor, reference: Tensor) -> Tensor:
    """L_mae (S14): |score - reference| grows."""
    return (score - reference).sign()


def slope_mae_released(score: Tensor, reference: Tensor) -> Tensor:
    """L_mae with the sign of the authors' released line: |score - reference| shrinks."""
    return -slope_mae(score, reference)


def slope_mse(score: Tensor, reference: Tensor) -> Tensor:
    """L_mse (S15): (score - reference)² grows."""
    return 2 * (score - reference)


DISTANCE_LOSSES: dict[str, Slope] = {"mae": slope_mae, "mae_released": slope_mae_released, "mse": slope_mse}
"""Losses of the distance to the reference, whose gradient is zero where score and reference are equal."""
LOSSES = ("mid", *DISTANCE_LOSSES)


@dataclass(frozen=True, kw_only=True)
class Iterative(Directed):
    """`steps` sign steps of size `alpha`, each projected to within `eps` of the clean image; no random start.

    Defaults are the paper's (Table S3). With `alpha` at least `eps`, one step always ends on the box and `alpha` has
    no effect; with `alpha` at least 2 `eps`, as in the paper, further steps jump between the box's faces.
    """

    eps: Real = 0.005
    """Largest change of a pixel, in [0, 1] units."""
    alpha: Real = 0.01
    """Step size, in [0, 1] units."""
    steps: Whole = 1
    loss: str = "mid"
    """A name in `LOSSES`; `mid` pushes the score in the attack's `direction`."""
    reference: Literal["clean", "raw", "mos"] = "clean"
    """What the loss compares with: the clean score; `raw`: the score of the image that skipped the ImageNet
    normalisation, a slip of the released demo that can turn L_mid round; `mos`: the label."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_eps(self.eps)
        if not self.alpha > 0:
            raise ValueError(f"alpha must be positive, got {self.alpha}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.loss not in LOSSES:
            raise ValueError(f"unknown loss {self.loss!r}; choose one of {', '.join(LOSSES)}")
        if self.reference not in ("clean", "raw", "mos"):
            raise ValueError(f"unknown reference {self.reference!r}; choose clean, raw or mos")
        if self.direction != "mid" and self.loss != "mid":
            raise ValueError(f"loss {self.loss!r} has its own direction; set direction only with loss 'mid'")

    @property
    def budget(self) -> float:
        return self.eps

    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        if self.loss in DISTANCE_LOSSES and self.reference == "clean":
            # The exact gradient is zero at every step. Computing it would return rounding noise, and its sign a
            # full-strength step in a random direction (the paper's Table S2 shows what that measures).
            warnings.warn(
                f"loss {self.loss!r} has no gradient at the clean image when it refers to the clean score: "
                "images are left as they are; use loss 'mid', or reference 'raw' or 'mos'",
                stacklevel=2,
            )
            return images
        clean = clean or clean_pass(score, images)
        reference = self._reference(score, images, clean, mos)
        adversarial, scores, gradient = images, clean.score, clean.gradient
        for step in range(self.steps):
            if step > 0:
                current = clean_pass(score, adversarial)
                scores, gradient = current.score, current.gradient
            ascent = self._slope(scores, reference).sign().view(-1, 1, 1, 1) * gradient.sign()
            adversarial = project(adversarial + self.alpha * ascent, images, self.eps)
        return adversarial

    def _slope(self, scores: Tensor, reference: Tensor) -> Tensor:
        return self.sign(reference) if self.loss == "mid" else DISTANCE_LOSSES[self.loss](scores, reference)

    def _reference(self, score: Score, images: Tensor, clean: CleanPass, mos: Tensor | None) -> Tensor:
        if self.reference == "raw":
            return unnormalised_score(score, images)
        if self.reference == "mos":
            if mos is None or mos.shape != clean.score.shape:
                raise ValueError("reference 'mos' needs one MOS per image: attack(score, images, mos=mos)")
            return mos.to(clean.score)
        return clean.score


def unnormalised_score(score: Score, images: Tensor) -> Tensor:
    """(N,) scores of images that skip the normalisation inside `score` (ImageNet's, for a plain function).

    Undone from outside: the model normalises std * x + mean back to x.
    """
    if isinstance(score, Scorer):
        mean, std = score.mean, score.std
    else:
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return final_scores(score(images * std + mean))
