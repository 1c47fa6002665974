"""Crop ensemble: the mean score of crops, each enlarged to the image's size (after Guo et al., ICLR 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.gradients import Score
from trainables.wrappers.base import Wrapper
from trainables.written import Real


@dataclass(frozen=True, kw_only=True)
class CropEnsemble(Wrapper):
    """The four corners and the middle, always the same; has an exact gradient."""

    share: Real = 0.875
    """Of each side, that a crop has, in (0, 1)."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share is a crop's share of each side in (0, 1), got {self.share}")

    def score(self, scorer: Score, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        high, wide = max(1, round(height * self.share)), max(1, round(width * self.share))
        down, right = height - high, width - wide
        places = ((0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2))
        crops = torch.cat([images[:, :, top : top + high, left : left + wide] for top, left in places])
        enlarged = F.interpolate(crops, (height, width), mode="bilinear").clamp(0, 1)
        return scorer(enlarged).view(len(places), -1).mean(0)
