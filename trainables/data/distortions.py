"""Eight distortions in five levels each, for small patches. All take and return `(H, W, 3)` uint8 RGB."""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from trainables.data.store import Pixels

Distortion = Callable[[Pixels, float, np.random.Generator], Pixels]


def gaussian_blur(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """`sigma` in pixels."""
    return _to_uint8(ndimage.gaussian_filter(pixels.astype(np.float64), (sigma, sigma, 0), mode="nearest"))


def motion_blur(pixels: Pixels, length: float, rng: np.random.Generator) -> Pixels:
    """The mean along a line of `length` pixels at a random angle."""
    kernel = _line_kernel(length, rng.uniform(0, np.pi))
    return _to_uint8(ndimage.correlate(pixels.astype(np.float64), kernel[..., None], mode="nearest"))


def jpeg(pixels: Pixels, quality: float, rng: np.random.Generator) -> Pixels:
    """`quality` is libjpeg's, 1..95."""
    return _recode(pixels, format="JPEG", quality=int(quality))


def jpeg2000(pixels: Pixels, rate: float, rng: np.random.Generator) -> Pixels:
    """`rate` is the compression ratio.

    A raw codestream: the headers of a JP2 file would eat a small patch's whole budget, and what is left flat is so
    easy to recognise that it inflates every model's correlation.
    """
    return _recode(pixels, format="JPEG2000", no_jp2=True, quality_mode="rates", quality_layers=[rate])


def white_noise(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Gaussian, independent per pixel and channel; `sigma` in grey levels."""
    return _to_uint8(pixels + rng.normal(0, sigma, pixels.shape))


def chroma_noise(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Gaussian noise on Cb and Cr alone; `sigma` in grey levels."""
    ycbcr = np.asarray(Image.fromarray(pixels).convert("YCbCr"), dtype=np.float64).copy()
    ycbcr[..., 1:] += rng.normal(0, sigma, ycbcr[..., 1:].shape)
    return np.asarray(Image.fromarray(_to_uint8(ycbcr), mode="YCbCr").convert("RGB"))


def impulse_noise(pixels: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """`share` of the pixels become black or white."""
    height, width, _ = pixels.shape
    noisy = pixels.copy()
    is_hit = rng.random((height, width)) < share
    noisy[is_hit] = rng.choice(np.array([0, 255], dtype=np.uint8), size=(int(is_hit.sum()), 1))
    return noisy


def resampling(pixels: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Shrunk `factor` times and enlarged again, both bicubic."""
    height, width, _ = pixels.shape
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    image = Image.fromarray(pixels).resize(small, Image.Resampling.BICUBIC)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


DISTORTIONS: dict[str, tuple[Distortion, tuple[float, ...]]] = {
    "gaussian_blur": (gaussian_blur, (0.6, 0.9, 1.3, 1.9, 2.8)),
    "motion_blur": (motion_blur, (2, 3.5, 5.5, 8.5, 13)),
    "jpeg": (jpeg, (60, 35, 20, 11, 5)),
    "jpeg2000": (jpeg2000, (6, 11, 18, 28, 42)),
    "white_noise": (white_noise, (5, 10, 18, 30, 48)),
    "chroma_noise": (chroma_noise, (8, 16, 28, 44, 64)),
    "impulse_noise": (impulse_noise, (0.005, 0.015, 0.04, 0.09, 0.18)),
    "resampling": (resampling, (1.4, 1.9, 2.6, 3.6, 5)),
}
"""Name -> the distortion and its strength at levels 1..5."""

NUM_LEVELS = 5


def distort(pixels: Pixels, distortion: str, level: int, rng: np.random.Generator) -> Pixels:
    """`pixels` after `distortion` (a key of `DISTORTIONS`) at `level` 1..5."""
    function, strengths = DISTORTIONS[distortion]
    return function(pixels, strengths[level - 1], rng)


def _line_kernel(length: float, angle: float) -> NDArray[np.float64]:
    """A line of `length` pixels at `angle` radians, each of its points spread bilinearly over four pixels; sum 1."""
    radius = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    for offset in np.linspace(-length / 2, length / 2, 2 * int(np.ceil(length)) + 1):
        y, x = radius + offset * np.sin(angle), radius + offset * np.cos(angle)
        top, left = int(y), int(x)
        down, right = y - top, x - left
        kernel[top : top + 2, left : left + 2] += np.outer([1 - down, down], [1 - right, right])
    return kernel / kernel.sum()


def _recode(pixels: Pixels, **options: object) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **options)  # type: ignore[arg-type]
    return np.asarray(Image.open(buffer).convert("RGB"))


def _to_uint8(values: NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
