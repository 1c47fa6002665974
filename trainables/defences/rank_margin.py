"""Rank margin: two images keep their order under both their worst changes, to first order (the paper's Section 6).

Theorem 1 of the paper bounds a score's change within `eps` by eps ‖∇f‖₁. A pair can swap only where the two bounds
together exceed the distance of its scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trainables.defences.base import Batch, Defence
from trainables.gradients import final_scores
from trainables.written import Real

LEAST_SPREAD = 1e-8
"""Below it a batch's scores count as equal."""


@dataclass(frozen=True, kw_only=True)
class RankMargin(Defence):
    """A hinge over pairs, or the worst changes relative to the spread of the batch's scores."""

    eps: Real = 0.005
    """Budget of the worst change, in [0, 1] pixel units."""
    form: Literal["hinge", "relative"] = "hinge"
    """`hinge`: mean of max(0, margin + worst_i + worst_j - |f_i - f_j|) over the batch's pairs whose MOS differ.
    `relative`: mean of (worst_i / standard deviation of the batch's scores)², which no scaling of the scores lowers."""
    margin: Real = 1.0
    """Of the hinge, in units of the recipe's `penalty_scale`."""
    norm: Literal["step", "exact"] = "step"
    """How the worst change eps ‖∇f‖₁ is found. `step`: as the score's change over one sign step of `eps`, the same
    for a linear score. `exact`: from the gradient, by double back-propagation."""

    def __post_init__(self) -> None:
        if not 0 < self.eps <= 1:
            raise ValueError(f"eps is a pixel change in (0, 1] (8 grey levels are 8/255), got {self.eps}")
        if self.form not in ("hinge", "relative"):
            raise ValueError(f"unknown form {self.form!r}; choose hinge or relative")
        if self.norm not in ("step", "exact"):
            raise ValueError(f"unknown norm {self.norm!r}; choose step or exact")
        if self.margin < 0:
            raise ValueError(f"margin must not be negative, got {self.margin}")

    @property
    def passes(self) -> int:
        return 5 if self.norm == "step" else 4

    def term(self, batch: Batch) -> tuple[Tensor, Tensor]:
        leaf = batch.inputs.detach().requires_grad_()
        outputs = batch.model.outputs(leaf)
        scores = final_scores(outputs)
        worst = self._worst_changes(batch, leaf, scores)
        if self.form == "relative":
            spread = scores.std(correction=0).clamp_min(LEAST_SPREAD)
            return outputs, (worst / spread).square().mean()
        unit = batch.unit(outputs)
        return outputs, _hinge(unit * scores, unit * worst, batch.targets, self.margin)

    def _worst_changes(self, batch: Batch, leaf: Tensor, scores: Tensor) -> Tensor:
        """(N,) eps ‖∇f‖₁ in the network's own units, in the graph of the parameters."""
        is_exact = self.norm == "exact"
        (gradient,) = torch.autograd.grad(scores.sum(), leaf, retain_graph=True, create_graph=is_exact)
        step = batch.in_inputs(self.eps)
        if is_exact:
            return (step * gradient.abs()).flatten(1).sum(1)
        moved = final_scores(batch.model.outputs(leaf.detach() + step * gradient.sign()))
        return (moved - scores).abs()


def _hinge(scores: Tensor, worst: Tensor, targets: Tensor, margin: float) -> Tensor:
    """Mean over the pairs whose targets differ, each of which stands twice; 0 where there is none."""
    differ = targets[:, None] != targets
    lacking = torch.relu(margin + worst[:, None] + worst - (scores[:, None] - scores).abs())
    return (lacking * differ).sum() / differ.sum().clamp_min(1)
