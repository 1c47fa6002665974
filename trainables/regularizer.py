"""The NT regulariser: train for a small L1 norm of the score's input gradient (paper Eq. 5 to 7).

Inputs are ImageNet-normalised, as in the authors' released code, so `step_size` (h) is in normalised units: 0.01 is
about 0.0022 in pixels of [0, 1]. Both penalties carry the released code's factor 1/2, which Eq. 7 does not have.

`scores` are the network's own outputs, shared with the training loss. Call `loss.backward(inputs=parameters)`: a plain
`backward()` gives the parameters the same gradients but also computes one for the inputs, which nothing reads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.gradients import Score, final_scores, gradient_l1, input_gradient

__all__ = ["estimated_l1", "exact_penalty", "gradient_l1", "nt_penalty"]


def nt_penalty(score: Score, inputs: Tensor, step_size: float) -> tuple[Tensor, Tensor]:
    """The network's outputs at `inputs` and half the mean squared finite-difference gradient norm (Eq. 6 and 7).

    score: (N, 3, H, W) normalised inputs -> (N,), or (K, N) of which the last row is penalised.
    step_size: h > 0, in normalised units; nothing is clamped.

    The difference runs along d = sign(grad f), which is a constant; gradients reach the parameters through f(z) and
    f(z + h d). Costs two forward passes and one backward pass to the inputs; the clean pass serves the loss as well.
    """
    _require_positive(step_size)
    leaf = inputs.detach().requires_grad_()
    outputs = score(leaf)
    scores = final_scores(outputs)
    (gradient,) = torch.autograd.grad(scores.sum(), leaf, retain_graph=True)
    moved = final_scores(score(inputs.detach() + step_size * gradient.sign()))
    return outputs, ((moved - scores) / step_size).square().mean() / 2


def exact_penalty(score: Score, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The network's outputs at `inputs` and half the mean squared L1 gradient norm by double back-propagation (Eq. 5).

    What `nt_penalty` tends to as its step goes to 0, for networks that allow a second derivative.
    """
    leaf = inputs.detach().requires_grad_()
    outputs = score(leaf)
    (gradient,) = torch.autograd.grad(final_scores(outputs).sum(), leaf, create_graph=True)
    return outputs, gradient.flatten(1).abs().sum(1).square().mean() / 2


def estimated_l1(score: Score, inputs: Tensor, step_size: float) -> Tensor:
    """(N,) finite-difference estimates of the L1 gradient norm, whose squares `nt_penalty` averages (Eq. 6); detached.

    How good they are at a step size is the question of Section 5.3; `gradient_l1` gives the exact norms.
    """
    _require_positive(step_size)
    scores, gradient = input_gradient(score, inputs)
    with torch.no_grad():
        moved = final_scores(score(inputs + step_size * gradient.sign()))
    return (moved - scores).abs() / step_size


def _require_positive(step_size: float) -> None:
    if not step_size > 0:
        raise ValueError(f"step_size must be positive (the authors use 0.01, in normalised units), got {step_size}")
