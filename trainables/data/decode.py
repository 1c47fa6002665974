"""From an image file's bytes to 8-bit RGB pixels, or one sentence on why not."""

import io
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError

from trainables.data.store import Pixels

MAX_PIXELS = 80_000_000
"""A file that claims more is refused undecoded; the known sets' largest photographs have 20 million."""

PIXELS_AT_A_TIME = 100_000_000
"""Whole images are decoded side by side up to so many pixels (300 MB); a larger one by itself."""
IMAGES_AT_A_TIME = 64

EIGHT_BIT = {"RGB": None, "L": "grey", "1": "grey", "P": "palette", "LA": "alpha", "PA": "alpha", "RGBA": "alpha"}
"""Pillow mode -> what is converted to RGB."""


READABLE = "JPEG, PNG, BMP, TIFF or WebP"
_HEIF_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"hevc", b"avif")
"""What stands behind `ftyp` in the files of newer phones and cameras."""

Resize = tuple[int, int] | int | None
"""Exact height and width; or the shorter side's length, the aspect ratio kept; or None for each image's own size."""


class _UnusableError(ValueError):
    """A refusal of ours, which names the file already."""


def decode_image(data: bytes, name: str, resize: Resize = None) -> tuple[Pixels, str | None]:
    """`(H, W, 3)` uint8 RGB and what the file was if not 8-bit RGB: "grey", "alpha", "palette", "CMYK", "16-bit".

    An alpha channel is dropped, 16-bit values are divided by 257, and the orientation tag is not applied, as in the
    published loaders. Resizing is bilinear with antialiasing. `name` is for the messages.
    Raises ValueError for what is no image, is damaged or cut short, or claims more than `MAX_PIXELS`.
    """
    if not data:
        raise ValueError(f"{name} is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data)) as image:
            _check_size(image.width, image.height, name)
            pixels, conversion = _to_rgb(image, name)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} is too large, with more than {MAX_PIXELS} pixels; shrink it") from error
    except _UnusableError:
        raise
    except UnidentifiedImageError:  # whose message shows the bytes' address in memory
        raise ValueError(f"{name} cannot be decoded: {_what_instead(data)}") from None
    except Exception as error:  # Pillow's decoders raise many types over damaged bytes, ValueError among them
        raise ValueError(f"{name} cannot be decoded: {error or type(error).__name__}; it is damaged") from error
    height, width = size_after(resize, *pixels.shape[:2])
    if pixels.shape[:2] != (height, width):
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    return pixels, conversion


def at_a_time(pixels: Iterable[int]) -> Iterator[list[int]]:
    """Positions of images, in order, in parts that may be in memory together; pixels: of each, height times width."""
    part: list[int] = []
    total = 0
    for position, size in enumerate(pixels):
        if part and (total + size > PIXELS_AT_A_TIME or len(part) == IMAGES_AT_A_TIME):
            yield part
            part, total = [], 0
        part.append(position)
        total += size
    if part:
        yield part


def _what_instead(data: bytes) -> str:
    """What bytes are that no decoder knows."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return f"it is a HEIC or AVIF photograph; export it as {READABLE}"
    return f"it is no image, or none in a format that is read here; save it as {READABLE}"


def size_after(resize: Resize, height: int, width: int) -> tuple[int, int]:
    """Height and width of an image of the given size once it is resized."""
    if resize is None:
        return height, width
    if isinstance(resize, int):
        scale = resize / min(height, width)
        return round(height * scale), round(width * scale)
    return resize


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise _UnusableError(f"{name} claims {width}x{height} pixels, more than {MAX_PIXELS}; shrink it")


def _to_rgb(image: Image.Image, name: str) -> tuple[Pixels, str | None]:
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image).astype(np.int32)
        if values.min() < 0 or values.max() > 65535:
            raise _UnusableError(f"{name} has 32-bit pixels; save it with 8 bits per channel")
        grey = ((values + 128) // 257).astype(np.uint8)  # rounded to the nearest
        return np.repeat(grey[..., None], 3, axis=2), "16-bit"
    conversion = "16-bit" if _has_16_bit_channels(image) else EIGHT_BIT.get(image.mode, image.mode)
    if image.mode == "F":
        raise _UnusableError(f"{name} has floating-point pixels; save it with 8 bits per channel")
    return np.asarray(image.convert("RGB")), conversion


def _has_16_bit_channels(image: Image.Image) -> bool:
    # Pillow reads 16-bit colour as 8-bit "RGB" and tells only its decoder.
    return any(";16" in str(tile) for tile in getattr(image, "tile", []))
