"""The baselines' own training losses, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.registry import look_up
from trainables.written import Real

NORM_EPSILON = 1e-8
"""Added to the norms of the norm-in-norm loss, as in the authors' release."""


def l1(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute error (HyperIQA); with auxiliary heads, the mean over them too."""
    rows, targets = _rows(outputs, targets)
    return F.l1_loss(rows, targets.expand_as(rows))


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error (DBCNN, MANIQA); with auxiliary heads, the mean over them too."""
    rows, targets = _rows(outputs, targets)
    return F.mse_loss(rows, targets.expand_as(rows))


def norm_in_norm(
    outputs: Tensor,
    targets: Tensor,
    *,
    p: Real = 1.0,
    q: Real = 2.0,
    alpha: Sequence[Real] = (1.0, 0.0),
    beta: Sequence[Real] = (0.1, 0.1, 1.0),
    gamma: Real = 0.0,
    detach: bool = False,
) -> Tensor:
    """D. Li et al., "Norm-in-Norm Loss with Faster Convergence and Better Performance for IQA", ACM MM 2020.

    The p-norm, to the power p, between predictions and targets that were both centred and divided by their q-norm: it
    sees neither the scale nor the offset of the predictions. `alpha` weighs the plain distance and the one after
    multiplying the predictions by their correlation with the targets; `beta` weighs the rows of `(K, N)` outputs and is
    unused for `(N,)`; `gamma` weighs a penalty on pairs in the wrong order; `detach` stops the gradient through the
    predictions' mean and norm. The defaults are those of the authors' training script. A batch of one image has loss 0.
    """
    if min(p, q) <= 0:
        raise ValueError(f"norm_in_norm: p and q must be positive, got {p} and {q}")
    rows, targets = _rows(outputs, targets)
    if outputs.ndim == 2 and len(beta) != len(rows):
        raise ValueError(f"norm_in_norm: beta needs one weight for each of the {len(rows)} outputs, got {len(beta)}")
    weights = beta if outputs.ndim == 2 else (1.0,)
    losses = [_norm_in_norm_row(row, targets, p, q, alpha, detach) for row in rows]
    if gamma:
        losses = [loss + gamma * _disorder(row, targets, detach) for loss, row in zip(losses, rows, strict=True)]
    return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()


LOSSES: dict[str, Callable[..., Tensor]] = {"l1": l1, "mse": mse, "norm_in_norm": norm_in_norm}


def create_loss(name: str, **params: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss `(outputs, targets) -> scalar`: `outputs` `(N,)` or `(K, N)`, `targets` `(N,)`, both on one scale.

    Raises ValueError for an unknown name or parameter, here; for shapes that do not match, when called.
    """
    loss = look_up(LOSSES, name, "loss")
    signature = inspect.signature(loss).parameters.values()
    known = [parameter.name for parameter in signature if parameter.kind is parameter.KEYWORD_ONLY]
    unknown = sorted(set(params) - set(known))
    if unknown:
        raise ValueError(f"loss {name!r} has no parameter {unknown[0]!r}; it takes {', '.join(known) or 'none'}")
    return partial(loss, **params)


def _norm_in_norm_row(
    predictions: Tensor, targets: Tensor, p: float, q: float, alpha: Sequence[float], detach: bool
) -> Tensor:
    n = len(predictions)
    if n == 1:
        return predictions.sum() * 0
    reference = predictions.detach() if detach else predictions
    centred = predictions - reference.mean()
    centred_reference = centred.detach() if detach else centred
    x = centred / (NORM_EPSILON + torch.linalg.vector_norm(centred_reference, q))
    y = targets - targets.mean()
    y = y / (NORM_EPSILON + torch.linalg.vector_norm(y, q))
    scale = 2 ** max(1.0, 1 / q) * n ** max(0.0, 1 / p - 1 / q)
    nudge = NORM_EPSILON if p < 1 else 0.0  # below 1 the norm's gradient explodes at zero error
    plain, correlated = (
        (torch.linalg.vector_norm(error + nudge, p) / scale) ** p
        for error in (x - y, torch.cosine_similarity(x, y, dim=0) * x - y)
    )
    return (alpha[0] * plain + alpha[1] * correlated) / (alpha[0] + alpha[1])


def _disorder(predictions: Tensor, targets: Tensor, detach: bool) -> Tensor:
    """Mean over ordered pairs of how far predictions stand in the wrong order, over 1 + the largest such distance."""
    n = len(predictions)
    if n == 1:
        return predictions.sum() * 0
    gaps = F.relu((predictions[:, None] - predictions) * torch.sign(targets - targets[:, None]))
    largest = gaps.detach().max() if detach else gaps.max()
    return gaps.sum() / n / (n - 1) / (1 + largest)


def _rows(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """`outputs` as `(K, N)` and `targets`, in single precision at least; half precision cannot hold the epsilons."""
    if targets.ndim != 1 or outputs.ndim not in (1, 2) or outputs.shape[-1] != len(targets) or len(targets) == 0:
        raise ValueError(
            f"expected outputs of shape (N,) or (K, N) and targets of shape (N,) with N of at least 1, "
            f"got {tuple(outputs.shape)} and {tuple(targets.shape)}"
        )
    rows = outputs if outputs.ndim == 2 else outputs.unsqueeze(0)
    dtype = torch.promote_types(rows.dtype, torch.float32)
    return rows.to(dtype), targets.to(dtype)
