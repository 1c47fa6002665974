"""Gradients of a score with respect to its input, without touching the model's parameters or their `.grad`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]
"""(N, 3, H, W) -> (N,) scores; networks with auxiliary heads give (K, N), whose last row is the score."""


def final_scores(outputs: Tensor) -> Tensor:
    """(N,) scores from a model's (N,) or (K, N) outputs. Raises ValueError for any other shape."""
    if outputs.ndim not in (1, 2):
        raise ValueError(f"a score function must return (N,) or (K, N), got {tuple(outputs.shape)}")
    return outputs if outputs.ndim == 1 else outputs[-1]


def input_gradient(score: Score, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (N,) and d score_i / d input_i, shaped as `inputs`; both detached.

    In evaluation mode images do not interact, so the gradient of the sum holds every image's own. A score that
    ignores its input has the gradient 0. Raises ValueError for scores of another shape or that are not finite.
    """
    with torch.enable_grad():
        leaf = inputs.detach().requires_grad_()
        scores = final_scores(score(leaf))
        if len(scores) != len(inputs):
            raise ValueError(f"a score function must return one score per image, got {len(scores)} for {len(inputs)}")
        if not torch.isfinite(scores).all():
            raise ValueError("the score is NaN or infinite; the model's training diverged or its weights are damaged")
        if not scores.requires_grad:
            return scores, torch.zeros_like(inputs)
        (gradient,) = torch.autograd.grad(scores.sum(), leaf, allow_unused=True)
    return scores.detach(), torch.zeros_like(inputs) if gradient is None else gradient


def gradient_l1(score: Score, inputs: Tensor) -> Tensor:
    """(N,) L1 norm of each image's input gradient, in score units per unit of `inputs` (paper Eq. 5).

    Pixel-space inputs give the norm of Theorem 1; ImageNet-normalised ones the (about 4.4 times smaller) norm that
    the regulariser penalises.
    """
    return input_gradient(score, inputs)[1].flatten(1).abs().sum(1)
