"""The scorer as an MLflow model: MLflow runs this file when it loads one (models from code, nothing is unpickled)."""

from __future__ import annotations

from pathlib import Path

import mlflow
from mlflow.pyfunc import PythonModel, PythonModelContext

from study.export.images import as_list, is_path, pixels_of
from study.export.reading import load_exported, score_pixels


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


mlflow.models.set_model(QualityModel())
