"""The full attack suite on a finished trial: what costs too much to run for every trial of a search.

White-box attacks are made on the trial's own model. Black-box images are made once on a machine, on surrogates that
were trained on the study's training part, and mapped by every trial (`adversaries.py`); `transfer` is made on the λ=0
baseline, whose score `mad` holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from trainables.adversaries import make_adversaries, make_perturbation
from trainables.attacks import SURROGATES, Suite, create_attack, needs_source
from trainables.attacks.base import Attack
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.evaluate import evaluate
from trainables.models import create_model
from trainables.models.scorer import Scorer, Size
from trainables.record import SCORES, WEIGHTS, check_weights, read_scores, write_scores
from trainables.surrogates import Surrogate, load_surrogate, train_surrogate
from trainables.trust import read_weights
from trainables.views import Images

PERTURBATION_STEPS = 200
"""At least so many steps train a universal perturbation, however few images there are: at Adam's rate of 0.001 a pixel
needs a hundred to reach the limit of ±0.1, and one epoch of a small set left it at a tenth of that."""
PERTURBATION_BATCH = 32


def prepare_suite(
    suite: Suite,
    images: ImageStore,
    rows: pd.DataFrame,
    baseline: Scorer | None,
    *,
    size: Size,
    cache_dir: Path,
    device: str | torch.device = "cpu",
) -> dict[str, Attack | Images]:
    """The suite's attacks, ready for `evaluate`: label -> attack, or ready-made adversaries.

    baseline: what `transfer` makes its images on and `mad` holds; may be None where the suite has neither. rows:
    `index`, `image`, `sha256`, `split`, `mos`. Surrogates, perturbation and adversaries are looked up in `cache_dir`
    and made where they are missing. Raises ValueError for a surrogate that has seen the images to attack.
    """
    attacked = rows[rows["split"] != "train"]
    ready: dict[str, Attack | Images] = {}
    for label, entry in resolve_suite(suite, images, rows, size=size, cache_dir=cache_dir, device=device).items():
        params = dict(entry)
        name = str(params.pop("name"))
        if needs_source(entry):
            if baseline is None:
                purpose = "whose score it holds" if name == "mad" else "to make its images on"
                raise ValueError(f"{name} needs the model {purpose}, such as a study's λ=0 baseline")
            ready[label] = create_attack(name, source=baseline.eval(), **params)
        elif name in SURROGATES:
            place = params.pop("surrogate", None)
            surrogate = None if place is None else load_surrogate(Path(place), device=device)
            ready[label] = make_adversaries(name, images, attacked, surrogate, cache_dir=cache_dir, **params)
        else:
            ready[label] = create_attack(name, **params)
    return ready


def resolve_suite(
    suite: Suite,
    images: ImageStore,
    rows: pd.DataFrame,
    *,
    size: Size,
    cache_dir: Path,
    device: str | torch.device = "cpu",
) -> Suite:
    """The suite with the place of a surrogate or perturbation wherever a black-box attack leaves it open.

    Both are looked up in `cache_dir` and trained on the training rows where they are missing. Arguments and errors are
    those of `prepare_suite`.
    """
    training, attacked = rows[rows["split"] == "train"], rows[rows["split"] != "train"]

    def resolved(entry: Mapping[str, Any]) -> Mapping[str, Any]:
        name = str(entry["name"])
        is_open = "perturbation" not in entry and (name == "uap" or "surrogate" not in entry)
        if name not in SURROGATES or not is_open:
            return entry
        place = entry.get("surrogate")
        if place is not None:
            surrogate = load_surrogate(Path(place), device=device)
        else:
            surrogate = train_surrogate(
                SURROGATES[name], images, training, cache_dir=cache_dir, size=size, device=device
            )
        surrogate.refuse_seen(attacked)
        if name == "uap":
            return {
                **entry,
                "surrogate": surrogate.place,
                "perturbation": _perturbation(surrogate, images, training, cache_dir),
            }
        return {**entry, "surrogate": surrogate.place}

    return {label: resolved(entry) for label, entry in suite.items()}


def attack_trial(
    config: TrialConfig,
    folder: Path,
    images: ImageStore,
    rows: pd.DataFrame,
    attacks: Mapping[str, Attack | Images],
    device: str | torch.device = "cpu",
) -> list[str]:
    """Add the attacks that a finished trial's score table lacks; returns their labels. Rows there already stay."""
    scores = read_scores(folder / SCORES)
    missing = {label: attack for label, attack in attacks.items() if label not in set(scores["attack"])}
    if missing:
        model = load_trial_model(config, folder).to(device)
        precision = config.recipe.attack_precision
        added = evaluate(model, images, rows[rows["split"] != "train"], missing, precision=precision)
        metadata = {str(key): str(value) for key, value in scores.attrs.items()}
        write_scores(folder / SCORES, pd.concat([scores, added], ignore_index=True), metadata)
    return list(missing)


def load_trial_model(config: TrialConfig, folder: Path) -> Scorer:
    """The model that a finished trial ships, in evaluation mode.

    ValueError where its weights are damaged, or others than those that its score table was measured with.
    """
    check_weights(folder)
    model = create_model(config.model, size=config.size, names_seed=config.names_seed)
    try:
        model.load_state_dict(read_weights(folder / WEIGHTS))
    except RuntimeError as error:
        raise ValueError(f"{folder / WEIGHTS} holds no weights of {config.model} ({config.size}): {error}") from None
    return model.eval()


def _perturbation(surrogate: Surrogate, images: ImageStore, training: pd.DataFrame, cache_dir: Path) -> Path:
    """Trained on training images, as large as the smallest of them allows, 256 pixels at most."""
    side = min(256, int(images.sizes[training["index"].to_numpy()].min()))
    epochs = math.ceil(PERTURBATION_STEPS * PERTURBATION_BATCH / len(training))
    return make_perturbation(
        surrogate, images, training, cache_dir=cache_dir, side=side, epochs=epochs, batch_size=PERTURBATION_BATCH
    )
