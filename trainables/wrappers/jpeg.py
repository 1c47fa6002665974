"""JPEG compression before scoring (for NR-IQA: Liu et al., "Enhancing NR-IQA Model Robustness through Simple Image
Compression Techniques", TCSVT)."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainables.wrappers.base import Transform, straight_through
from trainables.written import Whole


@dataclass(frozen=True, kw_only=True)
class Jpeg(Transform):
    """A real encoder (Pillow's, chroma at half resolution); its gradient is taken straight through."""

    quality: Whole = 60
    """1 to 95, as Pillow counts."""

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 95:
            raise ValueError(f"quality is a whole number from 1 to 95, got {self.quality}")

    def transform(self, images: Tensor) -> Tensor:
        return straight_through(images, torch.stack([self._compressed(image) for image in images.detach()]))

    def _compressed(self, image: Tensor) -> Tensor:
        levels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        file = io.BytesIO()
        Image.fromarray(levels).save(file, format="JPEG", quality=self.quality)
        with Image.open(file) as decoded:
            found = np.array(decoded)
        return (torch.from_numpy(found).permute(2, 0, 1).float() / 255).to(image)
