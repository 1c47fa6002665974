"""Reading an exported model: rebuild it, score images with it. Needs PyTorch and `trainables`, nothing of a study."""

from __future__ import annotations

import glob
import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from trainables.data.decode import decode_image
from trainables.data.labels import is_image_name
from trainables.devices import usable_device
from trainables.models import create_model
from trainables.models.scorer import Scorer
from trainables.record import WEIGHTS
from trainables.trust import read_regular
from trainables.views import image_views

CONFIG = "config.json"
FORMAT = "nt-study export"
VERSION = 2
"""Version 1 did not say where views lie, and cut them by the images' names; it is read as that."""
NEEDED = {"model": str, "size": str, "sha256": str, "seed": int, "input": dict}
"""What of `config.json` a model cannot be rebuilt without."""
SCALE = (0, 100)
"""The MOS scale of training: the training images' worst and best. Models are not held to it, so it is no bound."""


@dataclass(frozen=True, kw_only=True)
class ImageScore:
    """What became of one image."""

    image: str
    """The file's path, as it was given or found."""
    score: float | None = None
    """On the scale of 0 to 100, higher is better; None when there is none."""
    error: str = ""
    """Why there is no score."""
    note: str = ""
    """What to know about the score: that it lies outside 0 to 100, beyond anything the model was trained on."""


def read_config(folder: Path) -> dict[str, Any]:
    """An export's `config.json`. ValueError when the folder holds no export that this program can read."""
    try:
        config = dict(json.loads(read_regular(folder / CONFIG)))
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no exported model{_inner_exports(folder)}") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{folder / CONFIG} cannot be read: {error}") from None
    if config.get("format") != FORMAT:
        raise ValueError(f"{folder} holds no exported model; make one with: nt-study export NAME --out DIR")
    if config.get("version") not in (1, VERSION):
        raise ValueError(
            f"{folder} is an export of version {config.get('version')}, this program reads versions 1 and "
            f"{VERSION}; export it again"
        )
    wrong = next((name for name, kind in NEEDED.items() if not isinstance(config.get(name), kind)), None)
    if wrong is None and config["version"] == VERSION and not isinstance(config["input"].get("views"), str):
        wrong = "input"
    if wrong:
        raise ValueError(f"{folder / CONFIG} is damaged: it says no usable {wrong!r}; export the model again")
    return config


def load_exported(folder: Path | str, device: str = "cpu") -> Scorer:
    """The exported model in evaluation mode: RGB images (N, 3, H, W) in [0, 1] -> (N,) scores on 0..100.

    The scores' scale is 0 to 100 and is no bound. Raises ValueError when the folder holds no export, or weights that
    are not the ones it was written with, and for a device that is not here.
    """
    place = usable_device(device)
    folder = Path(folder)
    config = read_config(folder)
    try:
        weights = read_regular(folder / WEIGHTS)
    except OSError as error:
        raise ValueError(f"{folder / WEIGHTS} cannot be read: {error.strerror}; export the model again") from None
    if hashlib.sha256(weights).hexdigest() != config["sha256"]:
        raise ValueError(f"{folder / WEIGHTS} is not the file that was exported; export the model again")
    by_name = config["version"] == 1 or config["input"]["views"] == "by_name"
    model = create_model(config["model"], size=config["size"], names_seed=config["seed"] if by_name else None)
    model.load_state_dict(safetensors.torch.load(weights))
    return model.to(place).eval()


def score(folder: Path | str, images: Iterable[Path | str], device: str = "cpu") -> list[ImageScore]:
    """Score image files, folders of images (searched all the way down) and glob patterns with an exported model.

    Equal pixels get equal scores, and an image of the study the one it has there. One image is in memory at a time. An
    image that cannot be read or is too small for the model gets an error, the others their scores. ValueError for a bad
    export.
    """
    model = load_exported(folder, device)
    return [_score_file(model, path) for path in find_images(images)]


def score_pixels(model: Scorer, pixels: NDArray[np.uint8], image: str = "the image") -> float:
    """The score of one image (H, W, 3) uint8 RGB: the mean over its views, as in the study's tables.

    Its views are one batch, so that the last digit does not depend on what else is scored. image: its name, for
    messages. ValueError for an image too small for the model, and for a score that is not finite.
    """
    views = image_views(pixels, model.input_spec, image=image)
    with torch.no_grad():
        found = float(model(views.to(model.mean.device).float() / 255).double().mean())
    if not math.isfinite(found):
        raise ValueError(f"the model's score of {image} is {found}; its weights are damaged")
    return found


def read_image(path: Path | str) -> NDArray[np.uint8]:
    """The image as (H, W, 3) uint8 RGB. ValueError when there is none that can be decoded whole."""
    try:
        data = read_regular(path)
    except OSError as error:
        raise ValueError(f"{Path(path).name} cannot be read: {error.strerror}") from None
    return decode_image(data, Path(path).name)[0]


def find_images(places: Iterable[Path | str]) -> Iterator[Path]:
    """The files that `places` stand for, each once, in order. A file is taken whatever it is called."""
    seen: set[Path] = set()
    for place in places:
        for path in _files(Path(place)):
            if path not in seen:
                seen.add(path)
                yield path


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        return sorted(path for path in place.rglob("*") if is_image_name(path.name) and path.is_file())
    if not place.exists() and glob.has_magic(str(place)):
        return sorted(Path(match) for match in glob.glob(str(place), recursive=True) if Path(match).is_file())  # noqa: PTH207
    return [place]


def _score_file(model: Scorer, path: Path) -> ImageScore:
    try:
        found = score_pixels(model, read_image(path), path.name)
    except ValueError as error:
        return ImageScore(image=str(path), error=str(error))
    low, high = SCALE
    note = "" if low <= found <= high else f"outside {low} to {high}, the scale of the images it was trained on"
    return ImageScore(image=str(path), score=found, note=note)


def _inner_exports(folder: Path) -> str:
    inner = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
    return f" itself; it holds {', '.join(inner)}: name one of these folders" if inner else ""
