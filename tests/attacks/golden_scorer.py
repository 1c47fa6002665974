"""The tiny scorer that the reference values were made on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

GOLDEN = Path(__file__).parent.parent / "golden" / "attacks"
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@dataclass(frozen=True)
class Golden:
    """One reference file."""

    arrays: Mapping[str, Any]
    images: Tensor
    """(6, 3, H, W) in [0, 1]."""
    score: Callable[[Tensor], Tensor]

    def __getitem__(self, key: str) -> Any:
        return self.arrays[key]

    def cases(self) -> list[str]:
        return sorted(key.removesuffix("/score") for key in self.arrays if key.endswith("/score"))


def load_golden(name: str) -> Golden:
    arrays = dict(np.load(GOLDEN / f"{name}.npz"))
    weights = scorer_weights(arrays, "scorer_")
    return Golden(arrays, to_pixels(arrays["images_u8"]), lambda images: network((images - MEAN) / STD, weights))


def to_pixels(levels: Any) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) in [0, 1]."""
    return torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255


def to_levels(images: Tensor) -> Any:
    """(N, 3, H, W) in [0, 1] at 8 bits -> (N, H, W, 3) uint8."""
    return (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def scorer_weights(arrays: Mapping[str, Any], prefix: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    names = ("conv1_w", "conv1_b", "conv2_w", "conv2_b", "fc_w", "fc_b")
    return {name: torch.tensor(arrays[prefix + name], dtype=dtype) for name in names}


def network(inputs: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """(N,) scores of normalised inputs."""
    features = F.relu(F.conv2d(inputs, weights["conv1_w"], weights["conv1_b"], padding=1))
    features = F.relu(F.conv2d(features, weights["conv2_w"], weights["conv2_b"], stride=2, padding=1))
    return F.linear(features.mean((2, 3)), weights["fc_w"], weights["fc_b"])[:, 0]
