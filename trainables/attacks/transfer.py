"""An attack made on another model and replayed: what an attacker can do who only has the undefended baseline."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from trainables.attacks.base import Attack, CleanPass
from trainables.attacks.iterative import Iterative
from trainables.gradients import Score


@dataclass(frozen=True, kw_only=True)
class Transfer(Attack):
    """`attack` made on `source`; the score under attack is not consulted.

    Where the gradients of an NT model are masked, such images move its score more than its own gradients do.
    """

    source: Score
    """The model to make the images on, for instance the study's λ=0 baseline: (N, 3, H, W) in [0, 1] -> (N,)."""
    attack: Attack = field(default_factory=lambda: Iterative(steps=10, alpha=0.001))

    @property
    def budget(self) -> float | None:
        return self.attack.budget

    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        return self.attack(self.source, images, mos=mos)
