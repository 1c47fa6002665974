"""A quality score computed from the pristine patch: a stand-in for human opinion, which nobody was asked for.

The mean of HaarPSI and MDSI, each mapped so that a perfect copy is 1. On full-size images they correlate with human
scores at about 0.89 (SROCC on TID2013 and KADID-10k, from the piq documentation); on small patches nobody has measured
it. A pristine patch scores 100 whatever its own quality.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.data.store import Pixels

CHUNK = 128
"""Patches compared at a time; more gain no speed and cost memory."""


def similarities(patches: Sequence[Pixels], references: Sequence[Pixels]) -> NDArray[np.float64]:
    """`(n, 2)`: HaarPSI and 1 - MDSI of each patch against its reference, `(H, W, 3)` uint8; 1 is a perfect copy."""
    import piq

    rows = []
    for start in range(0, len(patches), CHUNK):
        pair = [_to_tensor(images[start : start + CHUNK]) for images in (patches, references)]
        haarpsi = piq.haarpsi(*pair, data_range=1.0, reduction="none")
        mdsi = piq.mdsi(*pair, data_range=1.0, reduction="none")
        rows.append(torch.stack([haarpsi, 1 - mdsi], dim=1).double())
    return torch.cat(rows).numpy()


def proxy_scores(values: NDArray[np.float64], is_training: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`(n,)` scores 0..100 from `(n, 2)` similarities: per column the training part's 1st percentile becomes 0."""
    lowest = np.percentile(values[is_training], 1, axis=0)
    return np.clip((values - lowest) / (1 - lowest), 0, 1).mean(axis=1) * 100


def _to_tensor(images: Sequence[Pixels]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().float() / 255
