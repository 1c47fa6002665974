"""Models and images that are made in the test itself."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from trainables.models.scorer import InputSpec, Scorer


class SmallNetwork(nn.Module):
    """Convolution, BatchNorm and dropout: everything that an attack must leave as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(0.25), nn.Linear(16, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean((2, 3))).squeeze(1)


def small_scorer(side: int = 24, mode: Literal["crop", "resize"] = "crop", crops: int = 1, seed: int = 0) -> Scorer:
    torch.manual_seed(seed)
    spec = InputSpec(height=side, width=side, mode=mode, crops=crops)
    return Scorer(SmallNetwork(), input_spec=spec, backbone=(), scale=25.0, offset=50.0)


def noisy_gradients(count: int, side: int = 24, seed: int = 0) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], Any]:
    """(count, side, side, 3) smooth pictures with noise added, and how clean they are, 0..100."""
    random = np.random.default_rng(seed)
    ramps = np.linspace(0, 1, side)
    slopes = random.uniform(-1, 1, (2, count, 1, 1, 3))
    smooth = 0.5 + 0.2 * (slopes[0] * ramps[None, :, None, None] + slopes[1] * ramps[None, None, :, None])
    quality = random.uniform(0, 100, count)
    strength = 0.15 * (1 - quality / 100).reshape(-1, 1, 1, 1)
    pixels = (smooth + strength * random.standard_normal((count, side, side, 3))).clip(0, 1)
    return (255 * pixels).round().astype(np.uint8), quality


def trained_scorer(steps: int = 150, side: int = 24) -> Scorer:
    """A scorer that has learnt to see noise, in about a second."""
    model = small_scorer(side)
    levels, quality = noisy_gradients(512, side)
    images, targets = pixels(levels), torch.from_numpy(quality).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        batch = torch.randint(0, len(images), (32,), generator=torch.Generator().manual_seed(step))
        loss = (model(images[batch]) - targets[batch]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def pixels(levels: Any) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) in [0, 1]."""
    return torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255


def rows_of(quality: Any, split: str = "test") -> pd.DataFrame:
    """Rows to evaluate, one per image, as a split table has them."""
    count = len(quality)
    return pd.DataFrame(
        {
            "index": range(count),
            "image": [f"{i}.png" for i in range(count)],
            "content": [f"photo{i % 3}" for i in range(count)],
            "split": split,
            "mos": quality,
            "sha256": [f"{i:064x}" for i in range(count)],
        }
    )
