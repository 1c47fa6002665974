"""Maximum differentiation (Wang & Simoncelli, Journal of Vision 2008): one measure is held while a score is pushed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from trainables.attacks.base import CleanPass, clean_pass, keep_better, require_eps, undisturbed
from trainables.attacks.constraint import project
from trainables.attacks.direction import Directed
from trainables.attacks.noise import uniform_noise
from trainables.gradients import Score, final_scores
from trainables.ssim import ssim
from trainables.written import Real, Whole

Hold = Literal["source", "mse", "ssim"]
TOLERANCE: dict[Hold, float] = {"source": 0.5, "mse": 0.1, "ssim": 0.002}
"""By how much the held measure may differ from its start in a result: MOS points, dB of PSNR, SSIM."""


@dataclass(frozen=True, kw_only=True)
class MaximumDifferentiation(Directed):
    """The images that a model tells apart and another measure takes for equal.

    `direction: up` and `down` are the competition's two images; `two_sided` keeps the one that lies further off. Each
    step is the best one to first order: of all steps in the budget's box that keep the held measure, and bring it back
    where curvature has moved it, the one along which the score rises most. The best iterate that holds is kept. The
    original projects one gradient on the other and knows no box.
    """

    source: Score | None = None
    """The other model where its score is held, such as the study's λ=0 baseline: (N, 3, H, W) in [0, 1] -> (N,)."""
    hold: Hold = "source"
    """`source`: the other model's score of the clean image. `mse`, `ssim`: the distance from the clean image, which is
    first put there by noise of ± half the budget."""
    eps: Real = 0.005
    """Largest change of a pixel, in [0, 1] units."""
    alpha: Real = 0.001
    """Largest change of a pixel in the first step; it falls to nothing in a straight line."""
    steps: Whole = 20
    seed: Whole = 0
    """Of the noise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_eps(self.eps)
        if not self.alpha > 0 or self.steps < 1:
            raise ValueError(f"alpha must be positive and steps at least 1, got {self.alpha} and {self.steps}")
        if self.hold not in get_args(Hold):
            raise ValueError(f"unknown hold {self.hold!r}; choose one of {', '.join(get_args(Hold))}")
        if self.hold == "source" and self.source is None:
            raise ValueError("mad holds another model's score and needs that model as its source, or hold=mse or ssim")

    @property
    def budget(self) -> float:
        return self.eps

    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        sign = self.sign(clean.score if clean else final_scores(score(images)))
        held = self._held(images)
        with undisturbed(held):
            return self._climb(score, held, images, sign)

    def _held(self, images: Tensor) -> Score:
        if self.hold == "source":
            assert self.source is not None
            return self.source
        return partial(_psnr if self.hold == "mse" else ssim, images)

    def _climb(self, score: Score, held: Score, images: Tensor, sign: Tensor) -> Tensor:
        current = images
        if self.hold != "source":
            current = project(images + self.eps / 2 * uniform_noise(self.seed, images).sign(), images, self.eps)
        best, best_value = current, torch.full_like(sign, -torch.inf)
        aim: Tensor | None = None
        for step in range(self.steps + 1):
            alpha = self.alpha * (1 - step / (self.steps + 1))  # curvature moves the held measure by alpha squared
            own, other = clean_pass(score, current), clean_pass(held, current)
            aim = other.score if aim is None else aim
            drift = aim - other.score
            value = torch.where(drift.abs() <= TOLERANCE[self.hold], sign * own.score, -torch.inf)
            best, best_value = keep_better(best, best_value, current, value)
            lowest = torch.maximum(images - self.eps, current - alpha).clamp(min=0) - current
            highest = torch.minimum(images + self.eps, current + alpha).clamp(max=1) - current
            gradient = sign.view(-1, 1, 1, 1) * own.gradient
            current = project(current + best_step(gradient, other.gradient, drift, lowest, highest), images, self.eps)
        return best


def best_step(gradient: Tensor, held: Tensor, change: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    """The step (N, 3, H, W) within `lowest` and `highest` along which `gradient` rises most while `held` does `change`.

    gradient, held: (N, 3, H, W). change: (N,), what the step's product with `held` shall be, or as near as the box
    allows. A linear programme with one equation. Its solution is known but for one number: pixels whose ratio of
    gradient to held lies above it go to one end of their range, the others to the other end, and the sum over the
    pixels sorted by that ratio says where it lies.
    """
    g, h, low, high = (part.flatten(1).double() for part in (gradient, held, lowest, highest))
    is_free = h == 0
    first = torch.where(h > 0, high, low)
    weight = h.abs() * (high - low)
    order = torch.where(is_free, -torch.inf, g / torch.where(is_free, 1.0, h)).argsort(1)
    weight_sorted = weight.gather(1, order)
    excess = (h * first).sum(1, keepdim=True) - change.double().unsqueeze(1)
    share = ((excess - weight_sorted.cumsum(1) + weight_sorted) / weight_sorted.clamp(min=1e-300)).clamp(0, 1)
    turned = torch.zeros_like(share).scatter(1, order, share)
    step = first + turned * torch.where(h > 0, low - high, high - low)
    free = torch.where(g > 0, high, torch.where(g < 0, low, 0.0))
    return torch.where(is_free, free, step).view_as(gradient).to(gradient.dtype)


def _psnr(clean: Tensor, images: Tensor) -> Tensor:
    return -10 * (images - clean).square().flatten(1).mean(1).clamp(min=1e-12).log10()
