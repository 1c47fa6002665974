"""The exact gradient norm in place of NT's finite difference (the paper's Eq. 5): no step size."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainables.defences.base import Batch, Defence
from trainables.regularizer import exact_penalty


@dataclass(frozen=True, kw_only=True)
class ExactNorm(Defence):
    """Half the mean squared L1 norm of the gradient; what NT tends to as h goes to 0, and λ has the same unit."""

    passes = 4  # forward, backward to the inputs, and backward through that backward

    def term(self, batch: Batch) -> tuple[Tensor, Tensor]:
        outputs, penalty = exact_penalty(batch.model.outputs, batch.inputs)
        return outputs, penalty * batch.unit(outputs) ** 2
