"""Down and up again before scoring: what the attack wrote into single pixels is averaged away."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from trainables.wrappers.base import Transform
from trainables.written import Real


@dataclass(frozen=True, kw_only=True)
class Resize(Transform):
    """Bilinear, with antialiasing on the way down; has an exact gradient."""

    factor: Real = 0.5
    """Size in between, as a share of each side, in (0, 1)."""

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1:
            raise ValueError(f"factor is a share of each side in (0, 1), got {self.factor}")

    def transform(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        between = max(1, round(height * self.factor)), max(1, round(width * self.factor))
        small = F.interpolate(images, between, mode="bilinear", antialias=True)
        return F.interpolate(small, (height, width), mode="bilinear").clamp(0, 1)
