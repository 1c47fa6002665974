"""Images as people hand them over, and the pixels in them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from study.export.reading import read_image
from trainables.data.decode import decode_image

DATA_URI = "data:image/"


def as_list(images: Any) -> Sequence[Any]:
    """The images, whatever they came in."""
    if isinstance(images, pd.DataFrame):
        return images.iloc[:, 0].tolist()
    return [images] if isinstance(images, (str, Path, Image.Image)) else list(images)


def is_path(image: Any) -> bool:
    return isinstance(image, (str, Path)) and not str(image).startswith(DATA_URI)


def pixels_of(image: Any) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of one image. ValueError, one sentence, for what is none.

    image: a file's path, a `data:image/…;base64,…` string, a PIL image, or an array (H, W, 3) RGB, uint8 or float in
    [0, 1], also as nested lists.
    """
    if is_path(image):
        return read_image(image)
    if isinstance(image, str):
        try:
            return decode_image(base64.b64decode(image.partition(",")[2], validate=True), "the image")[0]
        except binascii.Error as error:
            raise ValueError(f"a data URI must hold base64: {error}") from None
    if isinstance(image, Image.Image):
        image = image.convert("RGB")
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"an image must be an array (H, W, 3), got shape {pixels.shape}")
    if np.issubdtype(pixels.dtype, np.floating):
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise ValueError(f"float pixels must be in [0, 1], got [{pixels.min():g}, {pixels.max():g}]")
        return np.rint(pixels * 255).astype(np.uint8)
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"whole-number pixels must be in 0..255, got {pixels.min()}..{pixels.max()}")
    return pixels.astype(np.uint8)
