"""The views of an image that a model scores: stored crops, or the whole image resized once."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trainables.models.scorer import InputSpec
from trainables.seeding import derive_seed


class Images(Protocol):
    """Images by position, each (H, W, 3) uint8 RGB: an `ImageStore`, a list of arrays, or cached adversaries."""

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...


def image_views(pixels: NDArray[np.uint8], spec: InputSpec, *, seed: int, image: str) -> Tensor:
    """(views, 3, height, width) uint8 views of one image, as `spec` asks for.

    pixels: (H, W, 3) uint8. Crop positions derive from `seed` and the image's name alone, so a clean image and its
    adversarial version are cut at the same places. An image that already has the view's size is its own only view.
    Raises ValueError for an image too small to be cropped.
    """
    whole = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)
    size = (spec.height, spec.width)
    if whole.shape[1:] == size:
        return whole[None]
    if spec.mode == "resize":
        return F.interpolate(whole[None], size=size, mode="bilinear", antialias=True)
    corners = _corners(spec, whole.shape[1], whole.shape[2], derive_seed(seed, "views", image), image)
    return torch.stack([whole[:, top : top + spec.height, left : left + spec.width] for top, left in corners])


def _corners(spec: InputSpec, height: int, width: int, seed: int, image: str) -> NDArray[np.int64]:
    if height < spec.height or width < spec.width:
        raise ValueError(
            f"image {image} is {height}x{width} pixels, too small for the model's {spec.height}x{spec.width} crops; "
            "enlarge it or leave it out"
        )
    highest = [height - spec.height + 1, width - spec.width + 1]
    return np.random.default_rng(seed).integers(0, highest, size=(spec.crops, 2))
