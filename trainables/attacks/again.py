"""No attack at all: the same images, scored once more. What moves then is the model's own chance."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainables.attacks.base import Attack, CleanPass
from trainables.gradients import Score


@dataclass(frozen=True, kw_only=True)
class Again(Attack):
    """The images as they are; `evaluate` asks the model for their scores a second time.

    A score that differs from the first makes every score change of other attacks partly chance, and a gradient that
    is taken once the gradient of something else.
    """

    @property
    def budget(self) -> float:
        return 0.0

    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        return images
