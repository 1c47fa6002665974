"""An attack made on another model and replayed: what an attacker can do who only has the undefended baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from trainables.attacks.base import Attack, CleanPass
from trainables.attacks.direction import Directed
from trainables.attacks.iterative import Iterative
from trainables.gradients import Score
from trainables.written import Real, Whole


@dataclass(frozen=True, kw_only=True)
class Transfer(Directed):
    """I-FGSM, or another `attack`, made on `source`; the score under attack is consulted for `two_sided` alone.

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
    """Made in place of the sign steps, with a budget and a direction of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self._made  # whose parameters are checked here

    @property
    def _made(self) -> Attack:
        return self.attack or Iterative(steps=self.steps, alpha=self.alpha, eps=self.eps, direction=self.direction)

    @property
    def budget(self) -> float | None:
        return self._made.budget

    @property
    def sides(self) -> tuple[Transfer, ...]:
        return tuple(replace(self, attack=side) for side in self._made.sides)

    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        return self._made(self.source, images, mos=mos)
