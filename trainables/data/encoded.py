"""An `ImageStore` for sets whose decoded pixels would not fit: files are decoded when read."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.data.decode import Resize, at_a_time, decode_image
from trainables.data.store import INDEX, Cut, Indices, Pixels, stack_images, whole
from trainables.trust import read_regular

FILES = "files.json"


class EncodedStore:
    """Read-only images, each `(H, W, 3)` uint8 RGB, decoded from a release's own files on every read.

    `folder` was filled by `write_encoded`. Costs the decoding time of each view, and no room.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        source = json.loads((self.folder / FILES).read_text())
        self._root = Path(source["root"])
        self._paths: list[str] = source["paths"]
        resize = source["resize"]
        self._resize: Resize = tuple(resize) if isinstance(resize, list) else resize
        self.sizes: NDArray[np.int64] = np.load(self.folder / INDEX, allow_pickle=False)[:, 1:]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, i: int) -> Pixels:
        """Image `i` as `(H, W, 3)` uint8. ValueError where its file is gone or no longer the one that was checked."""
        path = self._root / self._paths[i]
        try:
            pixels, _ = decode_image(read_regular(path), str(path), self._resize)
        except OSError as error:
            raise ValueError(f"{path} cannot be read any more: {error}") from error
        if pixels.shape[:2] != tuple(self.sizes[i]):
            raise ValueError(f"{path} has changed since it was checked; open the set again")
        return pixels

    def __reduce__(self) -> tuple[type["EncodedStore"], tuple[Path]]:
        return EncodedStore, (self.folder,)

    def views(self, indices: Indices, cut: Cut) -> list[Pixels]:
        """What `cut` takes of the images at `indices`, in that order.

        They are decoded side by side, since Pillow's decoders let other threads run, as many at a time as memory is
        meant to hold.
        """
        numbers = [int(index) for index in indices]
        sizes = self.sizes[numbers].prod(axis=1).tolist()
        found: list[Pixels] = []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for part in at_a_time(sizes):
                # A copy, because a window of an image keeps the whole of it.
                found += pool.map(lambda place: cut(place, self[numbers[place]]).copy(), part)
        return found

    def batch(self, indices: Indices) -> torch.Tensor:
        """`(n, 3, H, W)` uint8 of images that share one size; ValueError where they do not."""
        return torch.from_numpy(stack_images(self.views(indices, whole))).permute(0, 3, 1, 2)


def write_encoded(
    folder: Path, root: Path, paths: Sequence[str], resize: Resize, sizes: Sequence[tuple[int, int]]
) -> None:
    """Note in `folder` which files (`paths` below `root`) the store reads, and their (height, width) once decoded."""
    np.save(folder / INDEX, np.array([(0, height, width) for height, width in sizes], dtype=np.int64))
    (folder / FILES).write_text(json.dumps({"root": str(root.resolve()), "paths": list(paths), "resize": resize}))
