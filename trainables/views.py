"""The views of an image that a model scores: crops on a fixed grid, or the whole image resized once."""

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


def image_views(pixels: NDArray[np.uint8], spec: InputSpec, *, image: str) -> Tensor:
    """(views, 3, height, width) uint8 views of one image, as `spec` asks for.

    pixels: (H, W, 3) uint8. Where crops lie follows from the image's size, so that equal pixels have equal views
    whatever they are called, and a clean image and its adversarial version are cut at the same places. An image that
    already has the view's size is its own only view. image: its name, for messages; only a `spec` with a `names_seed`
    cuts by it. Raises ValueError for an image too small to be cropped.
    """
    height, width = pixels.shape[:2]
    size = (spec.height, spec.width)
    if spec.mode == "resize" or (height, width) == size:
        whole = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]
        return whole if (height, width) == size else F.interpolate(whole, size, mode="bilinear", antialias=True)
    if height < spec.height or width < spec.width:
        raise ValueError(
            f"image {image} is {height}x{width} pixels, too small for the model's {spec.height}x{spec.width} crops; "
            "enlarge it or leave it out"
        )
    slack = (height - spec.height, width - spec.width)
    if spec.names_seed is None:
        corners = grid(spec.crops, *slack)
    else:
        corners = _by_name(spec.crops, *slack, derive_seed(spec.names_seed, "views", image))
    crops = np.stack([pixels[top : top + spec.height, left : left + spec.width] for top, left in corners])
    return torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()


def grid(crops: int, down: int, across: int) -> list[tuple[int, int]]:
    """(top, left) of `crops` crops in rows and columns, where a crop may be moved so many pixels down and across.

    Each axis is walked from edge to edge in even steps, or met in its middle by a single row or column. Of all ways to
    arrange so many crops, the one whose largest step is smallest, then the squarest; 25 make 5 x 5 in most photographs.
    """
    shapes = [(rows, crops // rows) for rows in range(1, crops + 1) if crops % rows == 0]

    def largest_step(shape: tuple[int, int]) -> float:
        return max(slack / max(0.5, count - 1) for slack, count in zip((down, across), shape, strict=True))

    rows, columns = min(shapes, key=lambda shape: (largest_step(shape), abs(shape[0] - shape[1])))
    return [(top, left) for top in _along(down, rows) for left in _along(across, columns)]


def _along(slack: int, count: int) -> list[int]:
    return [slack // 2] if count == 1 else [slack * step // (count - 1) for step in range(count)]


def _by_name(crops: int, down: int, across: int, seed: int) -> list[tuple[int, int]]:
    """The rule of records before version 2: anywhere, as the image's name decides."""
    corners = np.random.default_rng(seed).integers(0, [down + 1, across + 1], size=(crops, 2))
    return [(int(top), int(left)) for top, left in corners]
