"""The control: random noise of an attack's budget. A model that it moves as much as FGSM does has masked gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trainables.attacks.base import Attack, CleanPass, image_generator, require_eps
from trainables.attacks.constraint import project
from trainables.gradients import Score
from trainables.written import Real, Whole


@dataclass(frozen=True, kw_only=True)
class Noise(Attack):
    """Independent noise at every pixel; the score is not consulted."""

    eps: Real = 0.005
    """Largest change of a pixel, in [0, 1] units."""
    kind: Literal["sign", "uniform"] = "sign"
    """`sign`: ±eps, the size of FGSM's own step; `uniform`: anywhere in [-eps, eps]."""
    seed: Whole = 0

    def __post_init__(self) -> None:
        require_eps(self.eps)
        if self.kind not in ("sign", "uniform"):
            raise ValueError(f"unknown noise {self.kind!r}; choose sign or uniform")

    @property
    def budget(self) -> float:
        return self.eps

    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        noise = uniform_noise(self.seed, images)
        return project(images + self.eps * (noise.sign() if self.kind == "sign" else noise), images, self.eps)


def uniform_noise(seed: int, images: Tensor) -> Tensor:
    """Uniform in [-1, 1), shaped as `images`; each image's part derives from the seed and its own pixels."""
    draws = [torch.rand(image.shape, generator=image_generator(seed, image)) for image in images]
    return 2 * torch.stack(draws).to(images) - 1
