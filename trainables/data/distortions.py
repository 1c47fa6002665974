"""Eight distortions in five levels each, for small patches. All take and return `(H, W, 3)` uint8 RGB.

Chosen by what a small network learns in a minute: with motion blur and resampling in place of the last two, the same
recipe reached a test SROCC of 0.69 instead of 0.80, because in a 64-pixel patch they look like smooth content.
"""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from trainables.data.store import Pixels

BLOCK = 8
"""Side of a colour block, pixels."""

Distortion = Callable[[Pixels, float, np.random.Generator], Pixels]


def gaussian_blur(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """`sigma` in pixels."""
    return _to_uint8(ndimage.gaussian_filter(pixels.astype(np.float64), (sigma, sigma, 0), mode="nearest"))


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


def multiplicative_noise(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Every value times a Gaussian factor of mean 1 and deviation `sigma`."""
    return _to_uint8(pixels * (1 + rng.normal(0, sigma, pixels.shape)))


def color_blocks(pixels: Pixels, count: float, rng: np.random.Generator) -> Pixels:
    """`count` squares of 8x8 pixels, each of one random colour."""
    height, width, _ = pixels.shape
    blocked = pixels.copy()
    for _ in range(int(count)):
        top, left = rng.integers(0, height - BLOCK + 1), rng.integers(0, width - BLOCK + 1)
        blocked[top : top + BLOCK, left : left + BLOCK] = rng.integers(0, 256, 3)
    return blocked


DISTORTIONS: dict[str, tuple[Distortion, tuple[float, ...]]] = {
    "gaussian_blur": (gaussian_blur, (0.8, 1.3, 2.0, 3.0, 4.5)),
    "jpeg": (jpeg, (40, 20, 11, 6, 2)),
    "jpeg2000": (jpeg2000, (8, 13, 20, 29, 42)),
    "white_noise": (white_noise, (8, 15, 26, 40, 60)),
    "chroma_noise": (chroma_noise, (12, 24, 40, 60, 85)),
    "impulse_noise": (impulse_noise, (0.01, 0.03, 0.07, 0.13, 0.25)),
    "multiplicative_noise": (multiplicative_noise, (0.06, 0.12, 0.2, 0.32, 0.5)),
    "color_blocks": (color_blocks, (1, 2, 4, 7, 12)),
}
"""Name -> the distortion and its strength at levels 1..5."""

NUM_LEVELS = 5


def distort(pixels: Pixels, distortion: str, level: int, rng: np.random.Generator) -> Pixels:
    """`pixels` after `distortion` (a key of `DISTORTIONS`) at `level` 1..5."""
    function, strengths = DISTORTIONS[distortion]
    return function(pixels, strengths[level - 1], rng)


def _recode(pixels: Pixels, **options: object) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **options)  # type: ignore[arg-type]
    return np.asarray(Image.open(buffer).convert("RGB"))


def _to_uint8(values: NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
