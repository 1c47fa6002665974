"""Black-box adversarial images: made once per data set and surrogate, mapped by every trial, scored in one pass.

They do not depend on the model under study. Whole images are attacked, at their own size, and kept with 8 bits;
`evaluate` cuts both clean and adversarial image into views at the same places.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.attacks import create_attack
from trainables.attacks.base import Attack
from trainables.attacks.uap import PUBLISHED_LIMIT, save_perturbation, train_perturbation
from trainables.data.batches import training_batches
from trainables.data.cache import build_once
from trainables.data.store import ImageStore, build_store
from trainables.memory import fitting_batch_size
from trainables.surrogates import Surrogate
from trainables.trust import read_regular
from trainables.views import Images

LARGEST_BATCH = 64
PERTURBATION = "perturbation.png"


@dataclass(frozen=True, kw_only=True)
class Adversaries:
    """Adversarial images by the same positions as the clean ones; `evaluate` takes it in an attack's place."""

    store: ImageStore
    place: Mapping[int, int]
    """Position of an image in the data set's store -> position of its adversary in `store`."""

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        if index not in self.place:
            raise ValueError(f"there is no adversary of image {index}; make them for all rows that are evaluated")
        return self.store[self.place[index]]


def make_adversaries(
    attack_name: str,
    images: Images,
    rows: pd.DataFrame,
    surrogate: Surrogate | None,
    *,
    cache_dir: Path,
    **params: Any,
) -> Adversaries:
    """Adversaries of `rows` (`index` into `images`, `image`, `sha256`), made on `surrogate` or found in `cache_dir`.

    surrogate: None for a perturbation that was made elsewhere. params: the attack's. Kept under the images' hashes, the
    surrogate's fingerprint and the attack, so that one process makes them and the others wait for it and map them.
    Raises ValueError for a surrogate that was trained on one of the images, and as `create_attack` does.
    """
    if surrogate is not None:
        surrogate.refuse_seen(rows)
    attack = create_attack(attack_name, **params)
    made_from = [attack_name, _describe(params), surrogate.fingerprint if surrogate else "", *rows["sha256"]]
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]
    folder = cache_dir / "adversaries" / f"{attack_name}-{digest}"
    store = build_store(folder, _attacked(attack, surrogate, images, rows))
    return Adversaries(store=store, place={int(index): place for place, index in enumerate(rows["index"])})


def make_perturbation(
    surrogate: Surrogate,
    images: ImageStore,
    rows: pd.DataFrame,
    *,
    cache_dir: Path,
    side: int = 256,
    epochs: int = 10,
    batch_size: int = 4,
    limit: float = PUBLISHED_LIMIT,
    seed: int = 0,
) -> Path:
    """A PNG with the universal perturbation of `surrogate`, trained on `rows` of `images` or found in `cache_dir`.

    Random cuts of `side` x `side` pixels take the place of the authors' central ones; `rows` need `index` and
    `sha256`, and should be training images. With the default limit, `create_attack("uap", perturbation=...)` at its
    own default multiplier gives the paper's scale of 0.04.
    """

    def train(folder: Path) -> None:
        def batches() -> Iterator[Tensor]:
            for epoch in range(epochs):
                for batch, _ in training_batches(
                    images,
                    rows["index"].to_numpy(),
                    np.zeros(len(rows)),
                    height=side,
                    width=side,
                    mode="crop",
                    batch_size=batch_size,
                    seed=seed,
                    epoch=epoch,
                    augment="none",
                ):
                    yield batch.to(surrogate.model.mean.device)

        perturbation, _ = train_perturbation(surrogate.model, batches(), limit=limit)
        save_perturbation(folder / PERTURBATION, perturbation)

    made_from = [surrogate.fingerprint, side, epochs, batch_size, limit, seed, *rows["sha256"]]
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]
    return build_once(cache_dir / "perturbations" / digest, train) / PERTURBATION


def _attacked(
    attack: Attack, surrogate: Surrogate | None, images: Images, rows: pd.DataFrame
) -> Iterator[NDArray[np.uint8]]:
    """Each row's adversary, in order; neighbours of one size share a batch."""
    whole = (images[int(index)] for index in rows["index"])
    for (height, width), group in itertools.groupby(whole, key=lambda image: image.shape[:2]):
        score, device, batch_size = _unscored, torch.device("cpu"), 1
        if surrogate is not None:
            score, device = surrogate.model, surrogate.model.mean.device
            batch_size = fitting_batch_size(surrogate.model, height, width, at_most=LARGEST_BATCH)
        while chunk := list(itertools.islice(group, batch_size)):
            batch = torch.from_numpy(np.stack(chunk)).permute(0, 3, 1, 2).to(device)
            levels = (attack(score, batch.float() / 255) * 255).round().to(torch.uint8)
            yield from levels.permute(0, 2, 3, 1).cpu().numpy()


def _unscored(images: Tensor) -> Tensor:
    """In a surrogate's place for an attack that consults none."""
    raise AssertionError("an attack without a surrogate asked for a score")


def _describe(params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as they name a cache folder: files and tensors by their content."""
    found = {}
    for name, value in sorted(params.items()):
        if isinstance(value, Tensor):
            found[name] = hashlib.sha256(value.contiguous().cpu().numpy().tobytes()).hexdigest()
        elif isinstance(value, Path) or name == "perturbation":
            found[name] = hashlib.sha256(read_regular(value)).hexdigest()
        else:
            found[name] = repr(value)
    return found
