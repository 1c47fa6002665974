"""From stored images to training batches, by operations on whole batches of tensors."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import functional as transforms

from trainables.data.store import ImageStore, Indices, Pixels, stack_images
from trainables.seeding import torch_generator

ViewMode = Literal["crop", "resize"]
Augment = Literal["none", "mirror", "upside_down", "dihedral"]

TURNS: Mapping[Augment, Mapping[int, float]] = {
    "none": {},
    "mirror": {3: 0.5},
    "upside_down": {2: 0.7},
    "dihedral": {3: 0.5, 2: 0.5},
}
"""Augmentation -> dimension of `(N, C, H, W)` to turn over -> share of the views."""


def training_batches(
    store: ImageStore,
    indices: Indices,
    targets: Sequence[float] | NDArray[np.floating],
    *,
    height: int,
    width: int,
    mode: ViewMode,
    batch_size: int,
    seed: int,
    epoch: int,
    augment: Augment = "mirror",
    crops_per_image: int = 1,
    drop_last: bool = False,
    as_bytes: bool = False,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch's `(images, targets)`: float32 `(B, 3, height, width)` in [0, 1] and `(B,)`, B at most `batch_size`.

    With `as_bytes` the images are uint8, a quarter to send to a device, for `to_unit_range` there.

    Each of `indices` is seen `crops_per_image` times, in an order drawn from (seed, epoch), and so are each view's
    crop and augmentation: the same arguments give the same batches in any process. `crop` cuts a random window,
    `resize` takes the whole image. `augment` turns views over as `TURNS` says; `dihedral` also swaps rows and columns
    in half of the square ones. `targets` belong to `indices`. Raises
    ValueError for an image too small for the crop.
    """
    if len(indices) == 0 or len(indices) != len(targets):
        raise ValueError(f"training batches need as many targets as images, and one at least, not {len(targets)}")
    generator = torch_generator(seed, "batches", epoch)
    num_views = len(indices) * crops_per_image
    order = torch.randperm(num_views, generator=generator).numpy() // crops_per_image
    positions = torch.rand(num_views, 2, generator=generator, dtype=torch.float64).numpy()
    draws = torch.rand(num_views, 3, generator=generator)
    image_of_view = np.asarray(indices)[order]
    target_of_view = torch.as_tensor(np.asarray(targets, dtype=np.float32)[order])
    for start in range(0, num_views - batch_size + 1 if drop_last else num_views, batch_size):
        view = slice(start, start + batch_size)
        batch = _views(store, image_of_view[view], positions[view], height=height, width=width, mode=mode)
        batch = _augmented(batch, draws[view], augment)
        yield batch if as_bytes else to_unit_range(batch), target_of_view[view]


def _augmented(batch: torch.Tensor, draws: torch.Tensor, augment: Augment) -> torch.Tensor:
    """`batch` with views turned as `draws` (B, 3), uniform in [0, 1), decide: left-right, top-bottom, rows-columns."""
    for dim, share in TURNS[augment].items():
        chosen = (draws[:, 3 - dim] < share).nonzero().squeeze(1)
        batch[chosen] = batch[chosen].flip(dim)
    if augment == "dihedral" and batch.shape[2] == batch.shape[3]:
        chosen = (draws[:, 2] < 0.5).nonzero().squeeze(1)
        batch[chosen] = batch[chosen].transpose(2, 3)
    return batch


def to_unit_range(images: torch.Tensor) -> torch.Tensor:
    """uint8 0..255 -> contiguous float32 in [0, 1]."""
    return images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def _views(
    store: ImageStore,
    images: NDArray[np.integer],
    positions: NDArray[np.floating],
    *,
    height: int,
    width: int,
    mode: ViewMode,
) -> torch.Tensor:
    """`(n, 3, height, width)` uint8, one view per image, in memory of its own."""
    if _all_have_size(store, images, height, width):
        return store.batch(images)

    def cut(place: int, image: Pixels) -> Pixels:
        return _resize(image, height, width) if mode == "resize" else _crop(image, positions[place], height, width)

    return _to_nchw(stack_images(store.views(images, cut)))


def _all_have_size(store: ImageStore, images: NDArray[np.integer], height: int, width: int) -> bool:
    return bool((store.sizes[images] == (height, width)).all())


def _crop(image: Pixels, position: NDArray[np.floating], height: int, width: int) -> Pixels:
    """The window whose free room is divided at `position` (vertical, horizontal), each in [0, 1)."""
    if image.shape[0] < height or image.shape[1] < width:
        raise ValueError(
            f"an image of {image.shape[0]}x{image.shape[1]} pixels is too small for {height}x{width} crops; "
            "enlarge it or leave it out"
        )
    top = int(position[0] * (image.shape[0] - height + 1))
    left = int(position[1] * (image.shape[1] - width + 1))
    return image[top : top + height, left : left + width]


def _resize(image: Pixels, height: int, width: int) -> Pixels:
    """`(height, width, 3)` uint8, bilinear with antialiasing."""
    # A copy, because torch takes no read-only memory.
    resized = transforms.resize(_to_nchw(image[None].copy()), [height, width], antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


def _to_nchw(images: Pixels) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)
