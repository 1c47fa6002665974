"""What median smoothing certifies of a set of images."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trainables.attacks.base import undisturbed
from trainables.models.scorer import Scorer
from trainables.views import Images, image_views
from trainables.wrappers.smoothing import MedianSmoothing

CONFIDENCE = 0.999
"""Of an image's bounds, each view's share of the risk taken together."""
DRAWS = 1001


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Bounds of scores under every change of an L2 norm; how far a score can move is the wider side of its bounds."""

    radius: float
    """L2 norm of a change of a view, in [0, 1] pixels."""
    linf: float
    """The largest eps of which every change has at most that norm, on a view of the model."""
    confidence: float
    draws: int
    images: int
    finite: int
    """Images whose bounds are finite."""
    mean_change: float
    """By how many points a score can move at most, mean over these images; NaN where there is none."""
    largest_change: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        values = dataclasses.asdict(self).items()
        return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values}

    def describe(self) -> str:
        """In a sentence."""
        where = f"within L2 distance {self.radius:g} (every change of up to {self.linf:.2g} at each pixel)"
        if not self.finite:
            return f"certificate: none {where}; a smaller --radius or a larger sigma gives one"
        return (
            f"certificate: {where} the median score of {self.finite} of {self.images} images moves by at most "
            f"{self.mean_change:.2f} points in the mean, {self.largest_change:.2f} at most (confidence "
            f"{self.confidence:g} for each image, {self.draws} draws)"
        )


def certified(
    scorer: Scorer, wrapper: MedianSmoothing, images: Images, rows: pd.DataFrame, radius: float
) -> Certificate:
    """The certificate of `rows` (`index` and `image` are read); an image's bounds are the means of its views'.

    Each view may be changed by `radius`. Costs `DRAWS` forward passes of every view.
    """
    changes = []
    with undisturbed(scorer):
        for index, name in zip(rows["index"], rows["image"], strict=True):
            views = list(image_views(images[int(index)], scorer.input_spec, image=str(name)))
            sides = []
            for view in views:
                low, middle, high = wrapper.certify(
                    scorer,
                    view.to(scorer.mean.device).float() / 255,
                    radius=radius,
                    draws=DRAWS,
                    confidence=1 - (1 - CONFIDENCE) / len(views),
                )
                sides.append((middle - low, high - middle))
            changes.append(float(np.mean(sides, axis=0).max()))
    finite = [change for change in changes if math.isfinite(change)]
    spec = scorer.input_spec
    return Certificate(
        radius=radius,
        linf=radius / math.sqrt(3 * spec.height * spec.width),
        confidence=CONFIDENCE,
        draws=DRAWS,
        images=len(changes),
        finite=len(finite),
        mean_change=float(np.mean(finite)) if finite else math.nan,
        largest_change=max(finite, default=math.nan),
    )
