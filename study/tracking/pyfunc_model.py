"""The scorer as an MLflow model: MLflow runs this file when it loads one (models from code, nothing is unpickled)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext
from numpy.typing import NDArray

from study.export.reading import load_exported, read_image, score_pixels
from trainables.data.decode import decode_image

DATA_URI = "data:image/"


class QualityModel(PythonModel):
    """Images in, scores out.

    An image is a file's path, a `data:image/…;base64,…` string, or an array (H, W, 3) RGB, uint8 or float in [0, 1],
    also as nested lists. `predict` takes a list of them, an array (N, H, W, 3), a table with one column, or one string.
    """

    def load_context(self, context: PythonModelContext) -> None:
        self.model = load_exported(Path(context.artifacts["export"]))

    def predict(self, context, model_input, params=None):  # no hints: MLflow would take them for checks of the input
        """Scores, one per image, on the scale of 0 to 100, higher is better, which is no bound.

        ValueError for what is no image.
        """
        named = ((str(row), image) for row, image in enumerate(as_list(model_input)))
        return [
            score_pixels(self.model, pixels_of(image), Path(image).name if is_path(image) else f"image {row}")
            for row, image in named
        ]


def as_list(images: Any) -> Sequence[Any]:
    """The images, whatever they came in."""
    if isinstance(images, pd.DataFrame):
        return images.iloc[:, 0].tolist()
    return [images] if isinstance(images, str) else list(images)


def is_path(image: Any) -> bool:
    return isinstance(image, (str, Path)) and not str(image).startswith(DATA_URI)


def pixels_of(image: Any) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of one image in any of the forms that `QualityModel` takes."""
    if is_path(image):
        return read_image(image)
    if isinstance(image, str):
        try:
            return decode_image(base64.b64decode(image.partition(",")[2], validate=True), "the image")[0]
        except binascii.Error as error:
            raise ValueError(f"a data URI must hold base64: {error}") from None
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


mlflow.models.set_model(QualityModel())
