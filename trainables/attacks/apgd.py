"""Auto-PGD (Croce & Hein, ICML 2020) on the score: the audit's strongest white-box attack."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.attacks.base import CleanPass, clean_pass, keep_better, require_eps
from trainables.attacks.constraint import project
from trainables.attacks.direction import Directed
from trainables.attacks.noise import uniform_noise
from trainables.gradients import Score
from trainables.written import Real, Whole

MOMENTUM = 0.75
"""Share of the new gradient step; the rest keeps the last step's direction."""
SUCCESS_RATE = 0.75
"""Share of steps between two checkpoints that must raise the objective for the step size to stay."""


@dataclass(frozen=True, kw_only=True)
class AutoPgd(Directed):
    """Projected sign steps with momentum, a step size that halves where it no longer helps, and restarts.

    Pushes each score in its `direction` and keeps the best iterate. The first run starts at the clean image, and so
    takes FGSM's step first and is never weaker than it; the further ones start anywhere in the budget's box.
    """

    eps: Real = 0.005
    """Largest change of a pixel, in [0, 1] units."""
    steps: Whole = 20
    restarts: Whole = 3
    """Runs in all."""
    seed: Whole = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_eps(self.eps)
        if self.steps < 1 or self.restarts < 1:
            raise ValueError(f"steps and restarts must be at least 1, got {self.steps} and {self.restarts}")

    @property
    def budget(self) -> float:
        return self.eps

    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        clean = clean or clean_pass(score, images)
        sign = self.sign(clean.score)
        best, best_value = self._climb(score, images, sign, images, clean)
        for restart in range(1, self.restarts):
            noise = uniform_noise(self.seed + restart, images)
            start = project(images + self.eps * noise, images, self.eps)
            found, value = self._climb(score, images, sign, start, clean_pass(score, start))
            best, best_value = keep_better(best, best_value, found, value)
        return best

    def _climb(
        self, score: Score, images: Tensor, sign: Tensor, current: Tensor, at_current: CleanPass
    ) -> tuple[Tensor, Tensor]:
        """One run from `current`: each image's best iterate and its sign * score."""
        up = sign.view(-1, 1, 1, 1)
        value, gradient = sign * at_current.score, up * at_current.gradient
        best, best_value, best_gradient = current, value, gradient
        previous = current
        step_size = torch.full_like(up, 2 * self.eps)
        rises = torch.zeros_like(value)
        checked_value, was_halved, last_check = best_value, torch.zeros_like(value, dtype=torch.bool), 0
        for step in range(1, self.steps + 1):
            aimed = project(current + step_size * gradient.sign(), images, self.eps)
            share = 1.0 if step == 1 else MOMENTUM
            moved = current + share * (aimed - current) + (1 - share) * (current - previous)
            previous, current = current, project(moved, images, self.eps)
            at_current = clean_pass(score, current)
            rises += sign * at_current.score > value
            value, gradient = sign * at_current.score, up * at_current.gradient
            best, _ = keep_better(best, best_value, current, value)
            best_gradient, best_value = keep_better(best_gradient, best_value, gradient, value)
            if step in self._checkpoints():
                is_stuck = ~was_halved & (best_value <= checked_value)
                was_halved = (rises < SUCCESS_RATE * (step - last_check)) | is_stuck
                halve = was_halved.view(-1, 1, 1, 1)
                step_size = torch.where(halve, step_size / 2, step_size)
                current, gradient = torch.where(halve, best, current), torch.where(halve, best_gradient, gradient)
                value = torch.where(was_halved, best_value, value)
                rises, checked_value, last_check = torch.zeros_like(rises), best_value, step
        return best, best_value

    def _checkpoints(self) -> set[int]:
        """Steps after which the step size is judged, ever closer together.

        After 22 % of the steps, then after 3 % less each time, but at least 6 %: in whole steps, as the authors' code
        rounds them. The paper's real-valued form judges 20 steps half as often, which is 1 % weaker here.
        """
        period, least, less = (max(int(share * self.steps), 1) for share in (0.22, 0.06, 0.03))
        found, at = set(), 0
        while at + period <= self.steps:
            at += period
            found.add(at)
            period = max(period - less, least)
        return found
