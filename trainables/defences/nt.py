"""NT, the paper's defence: a small finite difference of the score along its gradient's sign (Eq. 6 and 7)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainables.defences.base import Batch, Defence
from trainables.regularizer import nt_penalty


@dataclass(frozen=True, kw_only=True)
class NormTraining(Defence):
    """Half the mean squared finite difference, as released; see `regularizer.nt_penalty`."""

    passes = 5  # clean forward, backward to the inputs, forward at the moved ones, backward through both forwards

    step_size: float
    """h, in ImageNet-normalised units; a trial's own `step_size`."""

    def term(self, batch: Batch) -> tuple[Tensor, Tensor]:
        outputs, penalty = nt_penalty(batch.model.outputs, batch.inputs, self.step_size)
        return outputs, penalty * batch.unit(outputs) ** 2
