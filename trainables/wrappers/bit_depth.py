"""Fewer grey levels before scoring (feature squeezing, Xu et al., NDSS 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainables.wrappers.base import Transform, straight_through
from trainables.written import Whole


@dataclass(frozen=True, kw_only=True)
class BitDepth(Transform):
    """Each channel rounded to 2^bits levels from 0 to 1; its gradient is taken straight through."""

    bits: Whole = 5

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise ValueError(f"bits is a whole number from 1 to 8, got {self.bits}")

    def transform(self, images: Tensor) -> Tensor:
        levels = 2**self.bits - 1
        return straight_through(images, (images.detach() * levels).round() / levels)
