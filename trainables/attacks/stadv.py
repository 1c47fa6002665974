"""Spatially transformed images, after StAdv (Xiao et al., ICLR 2018): pixels are moved, not changed in value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.attacks.base import CleanPass, clean_pass, keep_better
from trainables.attacks.direction import Directed
from trainables.gradients import Score, final_scores, input_gradient
from trainables.written import Real, Whole

WINDOW = 5
"""Pixels a side over which the flow is averaged after each step, in place of the original's smoothness penalty."""


@dataclass(frozen=True, kw_only=True)
class SpatialTransform(Directed):
    """Sign steps on a smooth flow field that says where each pixel is read from, the best iterate kept.

    No Linf budget: at an edge a shift of half a pixel changes values by half the contrast. What is bounded is the
    shift. Reading between pixels also blurs, so that scores may move one way only. The original minimises a loss with a
    smoothness term by L-BFGS, without a bound.
    """

    pixels: Real = 0.3
    """Largest shift of a pixel along each axis, in pixels."""
    alpha: Real = 0.1
    """Size of a step, in pixels."""
    steps: Whole = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.pixels > 0 or not self.alpha > 0 or self.steps < 1:
            raise ValueError(
                f"pixels and alpha must be positive and steps at least 1, got {self.pixels}, {self.alpha}, {self.steps}"
            )

    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        clean_score = (clean or clean_pass(score, images)).score
        sign = self.sign(clean_score)
        up = sign.view(-1, 1, 1, 1)
        flow = images.new_zeros(len(images), 2, *images.shape[-2:])
        best, best_value = images, sign * clean_score
        for _ in range(self.steps):
            _, gradient = input_gradient(partial(_warped_score, score, images), flow)
            moved = (flow + self.alpha * up * gradient.sign()).clamp(-self.pixels, self.pixels)
            flow = F.avg_pool2d(moved, WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)
            found = warp(images, flow)
            best, best_value = keep_better(best, best_value, found, sign * final_scores(score(found)))
        return best


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """(N, 3, H, W): each pixel read, bilinearly, from where `flow` (N, 2, H, W; right and down, in pixels) points.

    Beyond the edge lie the edge's own pixels.
    """
    height, width = images.shape[-2:]
    rows, columns = (torch.arange(size, device=images.device, dtype=images.dtype) for size in (height, width))
    down, right = torch.meshgrid(rows, columns, indexing="ij")
    to_unit = [2 / max(size - 1, 1) for size in (width, height)]  # grid_sample's places run from -1 to 1
    places = torch.stack([(right + flow[:, 0]) * to_unit[0] - 1, (down + flow[:, 1]) * to_unit[1] - 1], dim=-1)
    return F.grid_sample(images, places, mode="bilinear", padding_mode="border", align_corners=True)


def _warped_score(score: Score, images: Tensor, flow: Tensor) -> Tensor:
    return score(warp(images, flow))
