"""Universal adversarial perturbation (Shumitskaya et al., BMVC 2022): one image added to every image.

Made on a surrogate (PaQ-2-PiQ in the paper), always to raise its score, and applied without looking at the model.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainables.attacks.base import Attack, CleanPass, undisturbed
from trainables.attacks.constraint import truncate_to_8_bit
from trainables.files import write_atomically
from trainables.gradients import Score, input_gradient
from trainables.trust import read_regular
from trainables.written import Real

PUBLISHED_LIMIT = 0.1
"""Largest entry of the perturbation published with the BMVC paper."""
LATER_LIMIT = 10 / 255
"""Largest entry of the perturbations published later, and of the public training loops."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UniversalPerturbation(Attack):
    """clip(x + multiplier * perturbation), truncated to 8 bits as published; the score is not consulted."""

    perturbation: Tensor | str | Path
    """(3, h, w), or a PNG as published. Repeated from the top left corner to cover the image, so give whole images
    where crops are to be taken afterwards (the default protocol), or crops for a perturbation of each crop."""
    multiplier: Real = 0.4
    """0.4 makes the published ±0.1 image the paper's scale 0.04; 1 is for perturbations limited to ±10/255."""
    is_8_bit: bool = True
    """Truncate the result to 8 bits, as published; else leave it as floats."""

    def __post_init__(self) -> None:
        if not 0 <= self.multiplier <= 10:
            raise ValueError(f"multiplier must be in 0..10 (0.4 is the paper's scale 0.04), got {self.multiplier}")
        if isinstance(self.perturbation, (str, Path)):
            object.__setattr__(self, "perturbation", load_perturbation(self.perturbation))
        shape = tuple(self.perturbation.shape)  # type: ignore[union-attr]
        if len(shape) != 3 or shape[0] != 3:
            raise ValueError(f"a universal perturbation is (3, h, w), got {shape}")

    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        assert isinstance(self.perturbation, Tensor)
        tile = tiled(self.perturbation.to(images), *images.shape[-2:])
        moved = (images + self.multiplier * tile).clamp(0, 1)
        return truncate_to_8_bit(moved) if self.is_8_bit else moved


def tiled(perturbation: Tensor, height: int, width: int) -> Tensor:
    """(3, height, width): the perturbation repeated from the top left corner and cut to size."""
    down, across = (-(-size // own) for size, own in zip((height, width), perturbation.shape[-2:], strict=True))
    return perturbation.repeat(1, down, across)[:, :height, :width]


def load_perturbation(path: str | Path) -> Tensor:
    """(3, h, w) from a PNG as published: value / 255 - 0.5, about half a level low because encoding truncated.

    Raises ValueError for a file that is no readable 8-bit RGB image.
    """
    try:
        with Image.open(io.BytesIO(read_regular(path))) as file:
            mode, values = file.mode, np.asarray(file, dtype=np.float32)
    except OSError as error:
        raise ValueError(f"the universal perturbation {path} cannot be read: {error}") from error
    if mode != "RGB":
        raise ValueError(f"the universal perturbation {path} must be an 8-bit RGB image, its mode is {mode}")
    return torch.from_numpy(values / 255 - 0.5).permute(2, 0, 1)


def encode_perturbation(perturbation: Tensor) -> np.ndarray:
    """(h, w, 3) uint8 form of a perturbation (3, h, w) within ±0.5, truncated as published."""
    return (255 * (perturbation + 0.5).clamp(0, 1)).to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def save_perturbation(path: Path, perturbation: Tensor) -> None:
    """Write a perturbation (3, h, w) as `load_perturbation` reads it."""
    image = Image.fromarray(encode_perturbation(perturbation))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: image.save(file, format="PNG"))


def train_perturbation(
    score: Score,
    batches: Iterable[Tensor],
    *,
    method: Literal["optimized", "cumulative"] = "optimized",
    limit: float = LATER_LIMIT,
    lr: float = 0.001,
) -> tuple[Tensor, list[float]]:
    """A perturbation (3, h, w) that raises `score` on average, and the loss 1 - mean(score) / 100 before each step.

    batches: float (B, 3, h, w) in [0, 1], one step each, all of the perturbation's own size; the authors use 10,000
    images cut to 256x256, ten epochs of random batches of 4 (`optimized`: Adam) or 1 (`cumulative`: plain gradient
    steps of size 1). The image's clamp to [0, 1] passes gradients straight through, as in the public loops.
    Raises ValueError for another method and without batches.
    """
    if method not in ("optimized", "cumulative"):
        raise ValueError(f"unknown method {method!r} for training a perturbation; choose optimized or cumulative")
    perturbation: Tensor | None = None
    optimizer: torch.optim.Optimizer | None = None
    losses = []
    with undisturbed(score):
        for images in batches:
            if perturbation is None or optimizer is None:
                perturbation = torch.zeros_like(images[:1])
                optimizer = (
                    torch.optim.Adam([perturbation], lr=lr)
                    if method == "optimized"
                    else torch.optim.SGD([perturbation], lr=1.0)
                )
            scores, gradient = input_gradient(score, (images + perturbation).clamp(0, 1))
            losses.append(float(1 - scores.mean() / 100))
            perturbation.grad = -gradient.sum(0, keepdim=True) / (100 * len(images))
            optimizer.step()
            perturbation.clamp_(-limit, limit)
    if perturbation is None:
        raise ValueError("training a universal perturbation needs at least one batch of images")
    return perturbation[0], losses
