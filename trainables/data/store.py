"""Decoded images in one flat file that every process of a node maps without copying."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.data.cache import build_once

PIXELS = "pixels.u8"
INDEX = "index.npy"
"""Array of (offset, height, width), a row per image."""

Pixels = NDArray[np.uint8]
Indices = Sequence[int] | NDArray[np.integer]
Cut = Callable[[int, Pixels], Pixels]
"""(place among those asked for, the whole image) -> what is wanted of it, (h, w, 3)."""


def whole(_: int, image: Pixels) -> Pixels:
    """The cut that takes all of an image."""
    return image


class ImageStore(Protocol):
    """Read-only images by position, each `(H, W, 3)` uint8 RGB. May be read from many threads and processes at once."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """`(len, 2)`: height and width of every image, in pixels."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> Pixels: ...

    def views(self, indices: Indices, cut: Cut) -> list[Pixels]:
        """What `cut` takes of each of the images at `indices`, in that order; few whole ones are held at once."""

    def batch(self, indices: Indices) -> torch.Tensor:
        """`(n, 3, H, W)` uint8 of images that share one size; ValueError where they do not."""


class MappedStore:
    """Read-only images, each `(H, W, 3)` uint8 RGB, mapped from a folder that `write_store` filled.

    The pages belong to the operating system's cache, so any number of processes share one copy. Pickled as its folder:
    a store handed to another process is opened there, not copied.
    """

    def __init__(self, folder: Path) -> None:
        """Raise ValueError where the folder is no store or its pixel file is cut short."""
        self.folder = Path(folder)
        pixels_path = self.folder / PIXELS
        try:
            self._index: NDArray[np.int64] = np.load(self.folder / INDEX, allow_pickle=False)
            size = pixels_path.stat().st_size
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.folder} is no image store ({error}); delete it to have it made again") from error
        expected = int((self._index[:, 1] * self._index[:, 2]).sum()) * 3
        if size != expected:
            raise ValueError(f"{pixels_path} has {size} bytes, not {expected}; delete {self.folder} and start again")
        self._pixels = np.memmap(pixels_path, dtype=np.uint8, mode="r")
        self._stacked = self._stack_equal_sizes()

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, i: int) -> Pixels:
        """Image `i` as `(H, W, 3)` uint8, a read-only view of the shared pages."""
        offset, height, width = self._index[i]
        return self._pixels[offset : offset + height * width * 3].reshape(height, width, 3)

    def __reduce__(self) -> tuple[type["MappedStore"], tuple[Path]]:
        return MappedStore, (self.folder,)

    @property
    def sizes(self) -> NDArray[np.int64]:
        return self._index[:, 1:]

    def views(self, indices: Indices, cut: Cut) -> list[Pixels]:
        return [cut(place, self[i]) for place, i in enumerate(indices)]

    def batch(self, indices: Indices) -> torch.Tensor:
        if self._stacked is not None:
            stacked = self._stacked[np.asarray(indices, dtype=np.int64)]
        else:
            stacked = stack_images(self.views(indices, whole))
        return torch.from_numpy(stacked).permute(0, 3, 1, 2)

    def _stack_equal_sizes(self) -> Pixels | None:
        """All images as one `(len, H, W, 3)` view, which one gather can read a batch from, where sizes are equal."""
        if len(self) == 0 or len(np.unique(self.sizes, axis=0)) > 1:
            return None
        height, width = self.sizes[0]
        return self._pixels.reshape(len(self), height, width, 3)


def stack_images(images: Sequence[Pixels]) -> Pixels:
    """`(n, H, W, 3)` from images of one size; ValueError where the sizes differ."""
    sizes = sorted({image.shape[:2] for image in images})
    if len(sizes) > 1:
        raise ValueError(f"images of different sizes {sizes} make no batch; crop or resize them first")
    return np.stack(images)


def write_store(folder: Path, images: Iterable[Pixels]) -> None:
    """Append `images`, each `(H, W, 3)` uint8, to a new pixel file in `folder`, and the index of where each begins."""
    index: list[tuple[int, int, int]] = []
    offset = 0
    with (folder / PIXELS).open("wb") as file:
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
                raise ValueError(f"image {len(index)} is {image.dtype} {image.shape}; a store takes uint8 (H, W, 3)")
            file.write(np.ascontiguousarray(image).data)
            index.append((offset, image.shape[0], image.shape[1]))
            offset += image.size
    if not index:
        raise ValueError("no images to store")
    np.save(folder / INDEX, np.array(index, dtype=np.int64))


def build_store(folder: Path, images: Iterable[Pixels]) -> MappedStore:
    """The store in `folder`, made from `images` unless it is there already (see `build_once`)."""
    return MappedStore(build_once(Path(folder), lambda part: write_store(part, images)))
