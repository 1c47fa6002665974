"""Inputs that a training step makes bad for itself: projected sign steps (PGD), in the network's normalised space."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trainables.attacks.base import undisturbed
from trainables.defences.base import Batch


def worst_inputs(
    batch: Batch,
    objective: Callable[[Tensor], Tensor],
    *,
    eps: float,
    alpha: float,
    steps: int,
    random_start: bool,
) -> Tensor:
    """(N, 3, H, W) normalised inputs within `eps` of the batch's and within the range of pixels; detached.

    objective: outputs -> scalar to raise. eps, alpha: budget and step, in [0, 1] pixel units. random_start: anywhere in
    the box, drawn from torch's global generator, which an epoch seeds. A channel's standard deviation is positive, so
    the gradient's sign here is that of the pixel's.

    Made in evaluation mode, as the authors of TRADES do: BatchNorm's statistics stay still, and an image is not
    attacked through its batch.
    """
    inputs = batch.inputs.detach()
    room, step = batch.in_inputs(eps), batch.in_inputs(alpha)
    low = torch.maximum(inputs - room, batch.darkest)
    high = torch.minimum(inputs + room, batch.brightest)
    current = inputs
    if random_start:
        current = torch.clamp(inputs + room * (2 * torch.rand_like(inputs) - 1), low, high)
    with undisturbed(batch.model), torch.enable_grad():
        for _ in range(steps):
            leaf = current.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(objective(batch.model.outputs(leaf)), leaf)
            current = torch.clamp(current + step * gradient.sign(), low, high)
    return current.detach()


def require_box(eps: float, steps: int, alpha: float | None) -> None:
    """Raise ValueError for a budget, a number of steps or a step that makes no attack."""
    if not 0 < eps <= 1:
        raise ValueError(f"eps is a pixel change in (0, 1] (8 grey levels are 8/255), got {eps}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if alpha is not None and not alpha > 0:
        raise ValueError(f"alpha must be positive, got {alpha}")


def step_of(eps: float, steps: int, random_start: bool) -> float:
    """The usual step: `eps` at once; 1.25 `eps` after a random start (Wong et al. 2020); 2.5 `eps` over all of several
    steps (Madry et al. 2018)."""
    if steps > 1:
        return 2.5 * eps / steps
    return 1.25 * eps if random_start else eps
