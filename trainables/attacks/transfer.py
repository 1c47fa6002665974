"""An attack made on another model and replayed: what an attacker can do who only has the undefended baseline."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainables.attacks.base import Attack, CleanPass
from trainables.attacks.iterative import Iterative
from trainables.gradients import Score
from trainables.written import Real, Whole


@dataclass(frozen=True, kw_only=True)
class Transfer(Attack):
    """I-FGSM, or another `attack`, made on `source`; the score under attack is not consulted.

    Where the gradients of an NT model are masked, such images move its score more than its own gradients do.
    """

    source: Score
    """The model to make the images on, for instance the study's λ=0 baseline: (N, 3, H, W) in [0, 1] -> (N,)."""
    eps: Real = 0.005
    """The sign steps' largest change of a value in [0, 1]."""
    alpha: Real = 0.001
    """A sign step's size."""
    steps: Whole = 10
    attack: Attack | None = None
    """Made in place of the sign steps, with a budget of its own."""

    def __post_init__(self) -> None:
        if self.attack is None:
            object.__setattr__(self, "attack", Iterative(steps=self.steps, alpha=self.alpha, eps=self.eps))

    @property
    def budget(self) -> float | None:
        assert self.attack is not None
        return self.attack.budget

    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        assert self.attack is not None
        return self.attack(self.source, images, mos=mos)
