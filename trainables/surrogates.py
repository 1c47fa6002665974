"""Surrogates: the models that black-box adversaries are made on, trained once and told apart by what they learnt.

`paq2piq` for universal perturbations, `resnet50_substitute` for the attack of Korhonen & You, both of any size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
import torch

from trainables.config import Recipe, Stage, TrialConfig
from trainables.data.cache import build_once
from trainables.data.store import ImageStore
from trainables.models import create_model
from trainables.models.published import load_published
from trainables.models.scorer import Scorer, Size
from trainables.record import WEIGHTS
from trainables.seeding import derive_seed
from trainables.train import Training
from trainables.trust import read_regular, read_weights

DESCRIPTION = "surrogate.json"

_SMALL = Recipe(
    stages=(Stage(name="train", epochs=4, lr=1e-3, weight_decay=5e-4, schedule="cosine", warmup=0.1, batch_size=32),)
)
_MOBILE = Recipe(
    stages=(
        Stage(
            name="train",
            epochs=2,
            lr=2e-4,
            head_lr_ratio=5,
            weight_decay=1e-3,
            schedule="cosine",
            warmup=0.1,
            batch_size=16,
        ),
    ),
    init="imagenet",
)
RECIPES: Mapping[tuple[str, Size], Recipe] = {
    ("paq2piq", "small"): _SMALL,
    ("resnet50_substitute", "small"): _SMALL,
    ("paq2piq", "mobile"): _MOBILE,
    ("resnet50_substitute", "mobile"): _MOBILE,
    # Published: MSE, SGD with rates of 1e-5 (backbone) to 1e-3 (head) in cycles, weight decay 0.1, 10 epochs; one
    # cosine cycle here, and the image's score alone, without the three patches.
    ("paq2piq", "paper"): Recipe(
        stages=(
            Stage(
                name="train",
                epochs=10,
                lr=1e-5,
                head_lr_ratio=100,
                optimizer="sgd",
                weight_decay=0.1,
                schedule="cosine",
                warmup=0.3,
                batch_size=64,
            ),
        ),
        init="imagenet",
        loss="mse",
    ),
    # Published: half the MSE of shares of 1 and lr 5e-4, L2 0.01. With the whole MSE that is half the rate and twice
    # the decay. Its slower rates of the lower layers are left out.
    ("resnet50_substitute", "paper"): Recipe(
        stages=(
            Stage(
                name="train",
                epochs=2,
                lr=2.5e-4,
                head_lr_ratio=2,
                optimizer="sgd",
                weight_decay=0.02,
                batch_size=16,
            ),
        ),
        init="imagenet",
        loss="mse",
        loss_scale="native",
    ),
}
"""How each surrogate is trained."""


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """A trained surrogate."""

    name: str
    model: Scorer
    fingerprint: str
    """SHA-256 of its weights."""
    trained_on: frozenset[str]
    """SHA-256 of every image that it was trained on; empty for published weights, whose images are not at hand."""
    place: Path | None = None
    """Its folder or file, if it has one: what an attack's `surrogate` names."""

    def refuse_seen(self, rows: pd.DataFrame) -> None:
        """Raise ValueError if any of `rows` (`image`, `sha256`) was among the training images.

        Adversaries of images that the surrogate has learnt by heart say nothing about a black-box attack.
        """
        seen = rows[rows["sha256"].isin(self.trained_on)]
        if len(seen):
            raise ValueError(
                f"surrogate {self.name} was trained on {len(seen)} of the images to attack, such as "
                f"{seen['image'].iloc[0]}; train it on another data set or on the training part"
            )


def train_surrogate(
    name: str,
    images: ImageStore,
    rows: pd.DataFrame,
    *,
    cache_dir: Path,
    size: Size = "paper",
    seed: int = 0,
    device: str | torch.device = "cpu",
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Surrogate:
    """A surrogate trained on `rows` (`index` into `images`, `mos` on 0..100, `sha256`), or the one made before.

    Kept in `cache_dir` under what it was made from, so that the same request trains once, in one process.
    report: given each epoch's row. Raises ValueError for a name that is no surrogate.
    """
    if (name, size) not in RECIPES:
        raise ValueError(f"there is no surrogate {name!r} of size {size!r}; choose paq2piq or resnet50_substitute")
    config = TrialConfig(
        trial=f"surrogate-{name}",
        model=name,
        size=size,
        recipe=RECIPES[name, size],
        lam=0.0,
        step_size=0.01,
        seed=seed,
        views="grid",
        attacks={},
    )

    def train(folder: Path) -> None:
        torch.manual_seed(derive_seed(seed, "init"))
        model = create_model(name, size=size, pretrained=config.recipe.init == "imagenet")
        training = Training(model, config, images, rows, torch.device(device))
        while not training.finished:
            report(training.run_epoch())
        weights = {key: value.cpu().contiguous() for key, value in model.state_dict().items()}
        safetensors.torch.save_file(weights, folder / WEIGHTS)
        description = {"name": name, "size": size, "trained_on": sorted(set(rows["sha256"]))}
        (folder / DESCRIPTION).write_text(json.dumps(description))

    made_from = json.dumps(config.to_dict()) + rows[["sha256", "mos"]].to_csv(index=False)
    digest = hashlib.sha256(made_from.encode()).hexdigest()[:16]
    return load_surrogate(build_once(cache_dir / "surrogates" / f"{name}-{size}-{digest}", train), device=device)


def load_surrogate(place: Path, *, device: str | torch.device = "cpu") -> Surrogate:
    """The surrogate in a folder that `train_surrogate` made, or in a file of published weights.

    What published weights were trained on is not at hand, so `refuse_seen` lets them pass. Raises ValueError where
    there is no surrogate.
    """
    if place.is_file():
        return _surrogate(place.stem, load_published(place), frozenset(), place, device)
    try:
        description = json.loads(read_regular(place / DESCRIPTION))
        name, size, trained_on = (description[key] for key in ("name", "size", "trained_on"))
        if (name, size) not in RECIPES or not all(isinstance(seen, str) for seen in trained_on):
            raise ValueError(f"{DESCRIPTION} describes none")
        weights = read_weights(place / WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{place} holds no surrogate ({error}); make one with `nt-study surrogate train`") from error
    model = create_model(name, size=size)
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise ValueError(f"{place / WEIGHTS} holds weights of another network than {name} of size {size}") from None
    return _surrogate(name, model, frozenset(trained_on), place, device)


def _surrogate(
    name: str, model: Scorer, trained_on: frozenset[str], place: Path, device: str | torch.device
) -> Surrogate:
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    fingerprint = hashlib.sha256(safetensors.torch.save(weights)).hexdigest()
    model = model.to(device).eval()
    return Surrogate(name=name, model=model, fingerprint=fingerprint, trained_on=trained_on, place=place)
