"""SSIM (Wang et al. 2004) of RGB images, differentiable and batched, in the two forms that IQA attacks are measured in.

Both: 11x11 Gaussian window of sigma 1.5, each RGB channel by itself, k1 0.01, k2 0.03, population variance, range 1.
piq has the first form only; separable windows make it here twice as fast, which counts at 200 steps per image.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 11
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2


def ssim(clean: Tensor, other: Tensor, form: Literal["valid", "replicate"] = "valid") -> Tensor:
    """(N,) mean SSIM of (N, 3, H, W) images in [0, 1].

    form: `valid`: windows inside the image, after average pooling by round(shorter side / 256), as in piq and
    scikit-image's common use; `replicate`: edges repeated so that the map has the image's size, no pooling, as bundled
    with the perceptual attack. Raises ValueError for images smaller than the window.
    """
    if form == "valid":
        factor = max(1, round(min(clean.shape[-2:]) / 256))
        clean, other = (F.avg_pool2d(images, factor) if factor > 1 else images for images in (clean, other))
    if min(clean.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW}x{WINDOW} pixels, got {tuple(clean.shape[-2:])}")
    moments = torch.cat([clean, other, clean * clean, other * other, clean * other], dim=1)
    if form == "replicate":
        moments = F.pad(moments, (WINDOW // 2,) * 4, mode="replicate")
    mean_c, mean_o, square_c, square_o, product = _blur(moments).chunk(5, dim=1)
    covariance = product - mean_c * mean_o
    variances = square_c - mean_c**2 + square_o - mean_o**2
    luminance = (2 * mean_c * mean_o + C1) / (mean_c**2 + mean_o**2 + C1)
    return (luminance * (2 * covariance + C2) / (variances + C2)).mean(dim=(1, 2, 3))


def _blur(maps: Tensor) -> Tensor:
    """Each channel under the Gaussian window, at every place where the window fits."""
    offsets = torch.arange(WINDOW, dtype=maps.dtype, device=maps.device) - WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    weights = weights / weights.sum()
    channels = maps.shape[1]
    down = weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    across = weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    return F.conv2d(F.conv2d(maps, down, groups=channels), across, groups=channels)
