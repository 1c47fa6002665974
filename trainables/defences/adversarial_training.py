"""Adversarial training: the training loss also on inputs that FGSM or PGD made worse.

Madry et al., ICLR 2018, with the clean loss beside it; for NR-IQA Chistyakova et al., "Increasing the Robustness of
Image Quality Assessment Models Through Adversarial Training", Technologies 12(11), 2024, whose label strategies are
`labels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from trainables.defences.base import Batch, Defence
from trainables.defences.worst_inputs import require_box, step_of, worst_inputs
from trainables.ssim import ssim
from trainables.written import Real, Whole

Labels = Literal["clean", "shift", "ssim", "min"]


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining(Defence):
    """λ weighs the loss of the adversarial inputs against the clean loss, which counts 1."""

    eps: Real = 0.005
    """Largest change of a pixel, in [0, 1] units."""
    steps: Whole = 1
    """1: FGSM; more: PGD."""
    alpha: Real | None = None
    """Step in [0, 1] pixel units; None: see `worst_inputs.step_of`."""
    random_start: bool = False
    labels: Labels = "clean"
    """What an adversarial image should score. `clean`: its MOS. `shift`: its MOS less `strength` of the scale
    (published: 0.05 and 0.1). `ssim`: less `strength` * (1 - SSIM) of the scale. `min`: 0, the scale's low end."""
    strength: Real = 1.0
    """Of `shift` and `ssim`, as a share of the scale."""

    def __post_init__(self) -> None:
        require_box(self.eps, self.steps, self.alpha)
        if self.labels not in get_args(Labels):
            raise ValueError(f"unknown labels {self.labels!r}; choose one of {', '.join(get_args(Labels))}")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength is a share of the scale in [0, 1], got {self.strength}")

    @property
    def passes(self) -> int:
        return 2 + 2 * self.steps + 2

    def term(self, batch: Batch) -> tuple[Tensor, Tensor]:
        outputs = batch.model.outputs(batch.inputs)
        adversarial = worst_inputs(
            batch,
            lambda attacked: batch.loss(attacked, batch.targets),
            eps=self.eps,
            alpha=self.alpha or step_of(self.eps, self.steps, self.random_start),
            steps=self.steps,
            random_start=self.random_start,
        )
        return outputs, batch.loss(batch.model.outputs(adversarial), self._targets(batch, adversarial))

    @torch.no_grad()
    def _targets(self, batch: Batch, adversarial: Tensor) -> Tensor:
        if self.labels == "clean":
            return batch.targets
        if self.labels == "min":
            return torch.zeros_like(batch.targets)
        lost: Tensor | float = 1.0
        if self.labels == "ssim":
            std, mean = batch.model.std, batch.model.mean
            clean, attacked = ((inputs * std + mean).clamp(0, 1) for inputs in (batch.inputs, adversarial))
            lost = 1 - ssim(clean, attacked)
        return (batch.targets - 100 * self.strength * lost).clamp(0, 100)
