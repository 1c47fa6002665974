"""Reading an exported model: rebuild it, score images with it. Needs PyTorch and `trainables`, nothing of a study."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
from numpy.typing import NDArray

from trainables.data.decode import decode_image
from trainables.data.labels import is_image_name
from trainables.evaluate import clean_scores
from trainables.models import create_model
from trainables.models.scorer import Scorer
from trainables.record import WEIGHTS
from trainables.views import image_views

CONFIG = "config.json"
FORMAT = "nt-study export"
VERSION = 1
CHUNK = 64
"""Images in memory at a time."""


@dataclass(frozen=True, kw_only=True)
class ImageScore:
    """What became of one image."""

    image: str
    """The file's path, as it was given or found."""
    score: float | None = None
    """On 0..100, higher is better; None when there is none."""
    error: str = ""
    """Why there is no score."""


def read_config(folder: Path) -> dict[str, Any]:
    """An export's `config.json`. ValueError when the folder holds no export that this program can read."""
    try:
        config = dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no exported model{_inner_exports(folder)}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder / CONFIG} cannot be read: {error}") from None
    if config.get("format") != FORMAT:
        raise ValueError(f"{folder} holds no exported model; make one with: nt-study export NAME --out DIR")
    if config["version"] != VERSION:
        raise ValueError(
            f"{folder} is an export of version {config['version']}, this program reads version "
            f"{VERSION}; export it again"
        )
    return config


def load_exported(folder: Path | str, device: str = "cpu") -> Scorer:
    """The exported model in evaluation mode: RGB images (N, 3, H, W) in [0, 1] -> (N,) scores on 0..100.

    Raises ValueError when the folder holds no export, or weights that are not the ones it was written with.
    """
    folder = Path(folder)
    config = read_config(folder)
    try:
        weights = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise ValueError(f"{folder / WEIGHTS} cannot be read: {error.strerror}; export the model again") from None
    if hashlib.sha256(weights).hexdigest() != config["sha256"]:
        raise ValueError(f"{folder / WEIGHTS} is not the file that was exported; export the model again")
    model = create_model(config["model"], size=config["size"], pretrained=False)
    model.load_state_dict(safetensors.torch.load(weights))
    return model.to(device).eval()


def score(folder: Path | str, images: Iterable[Path | str], device: str = "cpu") -> list[ImageScore]:
    """Score image files, folders of images (searched all the way down) and glob patterns with an exported model.

    An image that cannot be read or is too small for the model gets an error, the others their scores. Views are cut
    as in the study's own tables, so an image of the study gets the score it has there. ValueError for a bad export.
    """
    model, seed = load_exported(folder, device), read_config(Path(folder))["seed"]
    paths = iter(find_images(images))
    found: list[ImageScore] = []
    while chunk := list(islice(paths, CHUNK)):
        found += _score_files(model, chunk, seed)
    return found


def score_arrays(model: Scorer, images: Sequence[NDArray[np.uint8]], names: Sequence[str], seed: int) -> list[float]:
    """Scores of images (H, W, 3) uint8 RGB; `names` and `seed` decide where views are cut."""
    rows = pd.DataFrame({"index": range(len(images)), "image": list(names)})
    return [float(value) for value in clean_scores(model, images, rows, seed=seed)] if len(images) else []


def read_image(path: Path | str) -> NDArray[np.uint8]:
    """The image as (H, W, 3) uint8 RGB. ValueError when there is none that can be decoded whole."""
    try:
        data = Path(path).read_bytes()
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


def _score_files(model: Scorer, paths: Sequence[Path], seed: int) -> list[ImageScore]:
    pixels: list[NDArray[np.uint8]] = []
    readable: list[Path] = []
    errors: dict[Path, str] = {}
    for path in paths:
        try:
            image = read_image(path)
            image_views(image, model.input_spec, seed=seed, image=path.name)
        except ValueError as error:
            errors[path] = str(error)
        else:
            pixels.append(image)
            readable.append(path)
    scores = dict(zip(readable, score_arrays(model, pixels, [path.name for path in readable], seed), strict=True))
    return [ImageScore(image=str(path), score=scores.get(path), error=errors.get(path, "")) for path in paths]


def _inner_exports(folder: Path) -> str:
    inner = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
    return f" itself; it holds {', '.join(inner)}: name one of these folders" if inner else ""
