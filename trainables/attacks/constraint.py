"""What every adversarial image must be, whatever the attack promised: checked and projected in one place."""

from __future__ import annotations

import torch
from torch import Tensor


def project(images: Tensor, clean: Tensor, eps: float) -> Tensor:
    """The nearest images within `eps` of `clean` at every pixel and within [0, 1]; the box first, then the range."""
    return torch.minimum(torch.maximum(images, clean - eps), clean + eps).clamp(0, 1)


def constrain(adversarial: Tensor, clean: Tensor, eps: float | None) -> Tensor:
    """An attack's result, projected to its own budget and to [0, 1].

    eps: largest change of a pixel, or None for attacks that promise none. Raises ValueError for a result of another
    shape or with NaN or infinite pixels.
    """
    if adversarial.shape != clean.shape:
        raise ValueError(f"the attack returned shape {tuple(adversarial.shape)} for images of {tuple(clean.shape)}")
    if not torch.isfinite(adversarial).all():
        raise ValueError("the attack returned NaN or infinite pixels; check its parameters and the model")
    adversarial = adversarial.detach()
    return adversarial.clamp(0, 1) if eps is None else project(adversarial, clean, eps)


def check_images(images: Tensor) -> None:
    """Raise ValueError unless `images` is a non-empty float (N, 3, H, W) tensor of RGB in [0, 1]."""
    if images.ndim != 4 or images.shape[1] != 3 or images.numel() == 0 or not images.is_floating_point():
        raise ValueError(
            f"an attack takes a non-empty float (N, 3, H, W) batch in [0, 1], got {images.dtype} {tuple(images.shape)}"
        )
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"pixels must be in [0, 1], got {float(images.min()):g} to {float(images.max()):g}")


def round_to_8_bit(images: Tensor) -> Tensor:
    """The images as an 8-bit file would hold them (half to even), still as floats in [0, 1]."""
    return (images * 255).round() / 255


def truncate_to_8_bit(images: Tensor) -> Tensor:
    """The images after a conversion to 8 bits that drops the fraction, still as floats in [0, 1]."""
    return (images * 255).floor() / 255
