"""TRADES for scores: the squared change of the score over PGD steps, whatever the label.

Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019, with the squared
difference of scores in place of the divergence between class probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.attacks.base import undisturbed
from trainables.defences.base import Batch, Defence
from trainables.defences.worst_inputs import require_box, step_of, worst_inputs
from trainables.gradients import final_scores
from trainables.written import Real, Whole


@dataclass(frozen=True, kw_only=True)
class Trades(Defence):
    """Mean squared change of the score, in squared units of the recipe's `penalty_scale`.

    The change has no gradient at the clean input, so the steps begin at random places in the budget's box.
    """

    eps: Real = 0.005
    """Largest change of a pixel, in [0, 1] units."""
    steps: Whole = 2
    alpha: Real | None = None
    """Step in [0, 1] pixel units; None: see `worst_inputs.step_of`."""

    def __post_init__(self) -> None:
        require_box(self.eps, self.steps, self.alpha)

    @property
    def passes(self) -> int:
        return 2 + 1 + 2 * self.steps + 2  # the 1: the score that the steps lead away from, in evaluation mode

    def term(self, batch: Batch) -> tuple[Tensor, Tensor]:
        outputs = batch.model.outputs(batch.inputs)
        with undisturbed(batch.model), torch.no_grad():
            still = final_scores(batch.model.outputs(batch.inputs))
        moved_inputs = worst_inputs(
            batch,
            lambda moved: (final_scores(moved) - still).square().sum(),
            eps=self.eps,
            alpha=self.alpha or step_of(self.eps, self.steps, random_start=True),
            steps=self.steps,
            random_start=True,
        )
        change = final_scores(batch.model.outputs(moved_inputs)) - final_scores(outputs)
        return outputs, change.square().mean() * batch.unit(outputs) ** 2
