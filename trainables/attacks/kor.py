"""The attack of Korhonen & You (QoEVMA 2022): Adam on the pixels, strongest where the image is busy.

It raises the score it is given, which is a substitute's: its images are then replayed on the model under study. Whole
images of 8 bits go in and come out; the loop works in grey levels 0..255, because Adam's epsilon is not scale free
and is what lets the activity map matter at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.attacks.base import Attack, CleanPass
from trainables.gradients import Score, input_gradient
from trainables.written import Real

BETA1, BETA2, ADAM_EPS = 0.9, 0.999, 1e-8
FIRST_CHECK, LAST_STEP, PATIENCE = 20, 100, 2
"""The loop runs while t < 20, and on while t < 100 and fewer than 2 steps have failed to improve: 19 to 99 steps."""
LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)
"""ITU-R BT.601 studio range, for RGB in [0, 1]; its offset does not matter to a gradient but at the padded border."""
LUMA_OFFSET = 16 / 255


@dataclass(frozen=True, kw_only=True)
class Korhonen(Attack):
    """Raise the score, taken as a share of 100, by gradients multiplied with the image's spatial activity."""

    lr: Real = 0.2
    """Learning rate in grey levels per step: the NT paper's. The attack's own paper has 0.1 to 5."""
    adam: Literal["matlab", "torch"] = "matlab"
    """Where Adam adds its epsilon: to the uncorrected root (MATLAB's solver, the original), or after the correction."""

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"lr must be positive, in grey levels per step (the paper's is 0.2), got {self.lr}")
        if self.adam not in ("matlab", "torch"):
            raise ValueError(f"unknown form of Adam {self.adam!r}; choose matlab or torch")

    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        levels = (images * 255).round()
        found, _ = self.climb(score, levels, activity_map(images).to(images))
        return (found + 0.5).floor().clamp(0, 255) / 255  # half away from zero, then saturate, as MATLAB's uint8

    def climb(self, score: Score, levels: Tensor, activity: Tensor) -> tuple[Tensor, list[list[float]]]:
        """Unrounded grey levels after each image's best step, and each image's losses 1 - score / 100, step by step.

        The loss is measured before a step and judges the image after it, as in the original. levels: (N, 3, H, W) in
        0..255. activity: (N, 1, H, W).
        """

        def loss(levels: Tensor) -> Tensor:
            return 1 - score(levels / 255) / 100

        found, current = levels.clone(), levels.clone()
        mean, square = torch.zeros_like(levels), torch.zeros_like(levels)
        best = levels.new_full((len(levels),), torch.inf)
        misses = torch.zeros(len(levels), dtype=torch.int64, device=levels.device)
        history: list[list[float]] = [[] for _ in levels]
        for t in range(1, LAST_STEP):
            # Only images that are still climbing are computed; each has its own Adam state and patience.
            active = torch.arange(len(levels), device=levels.device)
            if t >= FIRST_CHECK:
                active = active[misses < PATIENCE]
            if len(active) == 0:
                break
            losses, gradient = input_gradient(loss, current[active])
            gradient = activity[active] * gradient
            mean[active] = BETA1 * mean[active] + (1 - BETA1) * gradient
            square[active] = BETA2 * square[active] + (1 - BETA2) * gradient**2
            current[active] -= self.lr * self._step(mean[active], square[active], t)
            improved = losses < best[active]
            better = active[improved]
            best[better], found[better] = losses[improved], current[better]
            misses[active] = torch.where(improved, 0, misses[active] + 1)
            for i, value in zip(active.tolist(), losses.tolist(), strict=True):
                history[i].append(value)
        return found, history

    def _step(self, mean: Tensor, square: Tensor, t: int) -> Tensor:
        first, second = 1 - BETA1**t, (1 - BETA2**t) ** 0.5
        if self.adam == "matlab":
            return second / first * mean / (square.sqrt() + ADAM_EPS)
        return mean / first / (square.sqrt() / second + ADAM_EPS)


def activity_map(images: Tensor) -> Tensor:
    """(N, 1, H, W) float64 spatial activity in [0, 1] of (N, 3, H, W) images in [0, 1], taken at 8 bits.

    Squared Sobel gradients of the luma, the outermost pixels cut off, over their maximum, spread by a 5x5 square
    without corners. A flat image has 1 everywhere.
    """
    weights = torch.tensor(LUMA, dtype=torch.float64, device=images.device).view(1, 3, 1, 1)
    luma = ((images.double() * 255).round() / 255 * weights).sum(1, keepdim=True) + LUMA_OFFSET
    sobel = torch.tensor([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]], dtype=torch.float64, device=images.device) / 8
    kernels = torch.stack([sobel, sobel.T])[:, None]
    activity = F.conv2d(luma, kernels, padding=1).square().sum(1, keepdim=True)
    activity = F.pad(activity[:, :, 1:-1, 1:-1], (1, 1, 1, 1))
    highest = activity.amax(dim=(1, 2, 3), keepdim=True)
    spread = _dilate(activity / torch.where(highest > 0, highest, 1.0))
    return torch.where(highest > 0, spread, 1.0)


def _dilate(maps: Tensor) -> Tensor:
    """The largest value within the 5x5 square without its corners: the larger of a 3x5 and a 5x3 window."""
    lying = F.max_pool2d(maps, (3, 5), stride=1, padding=(1, 2))
    standing = F.max_pool2d(maps, (5, 3), stride=1, padding=(2, 1))
    return torch.maximum(lying, standing)
