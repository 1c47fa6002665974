"""The one shape that all defences of training have: a term beside the training loss, weighted by λ (`lam`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from trainables.models.scorer import Scorer


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a training step knows."""

    model: Scorer
    inputs: Tensor
    """(N, 3, H, W), normalised as the network takes them."""
    targets: Tensor
    """(N,) MOS on 0..100."""
    loss: Callable[[Tensor, Tensor], Tensor]
    """(outputs, targets) -> scalar: the recipe's loss of the network's outputs, (N,) or (K, N), for MOS (N,)."""
    unit: Callable[[Tensor], Tensor | float]
    """outputs -> what one unit of the network's score is worth on the recipe's `penalty_scale`."""

    def in_inputs(self, pixels: float) -> Tensor:
        """(3, 1, 1): a change of [0, 1] pixels, in the units of `inputs`."""
        return pixels / self.model.std

    @property
    def darkest(self) -> Tensor:
        """(3, 1, 1): a pixel of 0, as in `inputs`."""
        return -self.model.mean / self.model.std

    @property
    def brightest(self) -> Tensor:
        """(3, 1, 1): a pixel of 1, as in `inputs`."""
        return (1 - self.model.mean) / self.model.std


class Defence(ABC):
    """A frozen dataclass of its parameters, each in [0, 1] pixel units or without a unit unless it says otherwise."""

    @abstractmethod
    def term(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The network's outputs at the clean inputs, in training form, and the scalar that λ multiplies.

        Both in the graph of the parameters. The loss is computed from the same outputs, so a pass is shared.
        """

    @property
    @abstractmethod
    def passes(self) -> int:
        """Forward and backward passes of a training step, the loss's own included; 2 is a step without a defence.

        A backward pass through a backward pass counts as two.
        """


class NoDefence(Defence):
    """The training loss alone: the λ=0 baseline, and studies that only vary how it is trained."""

    passes = 2

    def term(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return batch.model.outputs(batch.inputs), batch.targets.new_zeros(())
