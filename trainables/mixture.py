"""Mixtures: the models between two trained ones, at the price of an evaluation.

Between the weights of a λ=0 model and of a robust one that began from the same weights lies a path of models that trade
accuracy for robustness (weight interpolation: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022;
Ramé et al., "Rewarded soups", NeurIPS 2023). Nothing promises that the path is good: whoever offers a mixture has
measured it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import safetensors.torch
import torch
from torch import Tensor

from trainables.attacks import create_attack
from trainables.config import Mixture, TrialConfig
from trainables.data.store import ImageStore
from trainables.evaluate import evaluate
from trainables.files import write_atomically
from trainables.models import create_model
from trainables.record import SCORES, WEIGHTS, metadata_of, write_scores
from trainables.suite import load_trial_model

State = Mapping[str, Tensor]


def interpolate(first: State, second: State, weight: float) -> dict[str, Tensor]:
    """The state `(1 - weight) * first + weight * second` of two models of one architecture.

    Every floating tensor is interpolated, BatchNorm's statistics and a model's `scale` and `offset` among them. Integer
    tensors count something (batches seen) and have no middle: the larger one is kept. At weight 0 and 1 the result is
    the parent itself, and `interpolate(a, b, w)` equals `interpolate(b, a, 1 - w)` to the last bit for a `weight` in
    steps of 0.0001. Raises ValueError for a weight outside [0, 1] and for states that do not fit each other.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is the second model's share, between 0 and 1, got {weight}")
    _check_alike(first, second)
    if weight in (0, 1):
        return {key: value.clone() for key, value in (second if weight else first).items()}
    shares = round(1 - weight, 4), round(weight, 4)
    return {key: _mix(value, second[key], *shares) for key, value in first.items()}


def _mix(first: Tensor, second: Tensor, first_share: float, second_share: float) -> Tensor:
    if not first.is_floating_point():
        return torch.maximum(first, second)
    return first_share * first + second_share * second


def _check_alike(first: State, second: State) -> None:
    shapes = [{key: (tuple(value.shape), value.dtype) for key, value in state.items()} for state in (first, second)]
    if shapes[0] == shapes[1]:
        return
    differing = next(key for key in {**shapes[0], **shapes[1]} if shapes[0].get(key) != shapes[1].get(key))
    raise ValueError(f"only models of one architecture can be mixed; these differ in {differing!r}")


def mixture_config(mixture: Mixture, first: TrialConfig, second: TrialConfig) -> TrialConfig:
    """The configuration of a mixture's record. ValueError where its parents are not models of one architecture.

    Everything that a mixture is asked is its second parent's, such as the attacks; `lam` and `step_size` say what it
    was made from, not what it was trained with.
    """
    for key in ("model", "size"):
        if getattr(first, key) != getattr(second, key):
            raise ValueError(
                f"{first.trial} and {second.trial} cannot be mixed: their {key}s are {getattr(first, key)!r} and "
                f"{getattr(second, key)!r}"
            )
    shares = mixture.shares
    return dataclasses.replace(
        second,
        trial=mixture.name,
        lam=shares[0] * first.lam + shares[1] * second.lam,
        step_size=shares[0] * first.step_size + shares[1] * second.step_size,
        mixture=mixture,
    )


def record_mixture(
    mixture: Mixture,
    folder: Path,
    parents: tuple[tuple[TrialConfig, Path], tuple[TrialConfig, Path]],
    images: ImageStore,
    rows: pd.DataFrame,
    device: str | torch.device = "cpu",
) -> pd.DataFrame:
    """Make a mixture and evaluate it as a trial is evaluated; its folder then holds what a trial's does.

    parents: configuration and folder of each parent, in the mixture's order. rows: as for `trainables.trial.Trial`.
    Returns the score table. The table is written last, so a folder without one is unfinished and is simply made again.
    """
    config = mixture_config(mixture, parents[0][0], parents[1][0])
    write_atomically(folder / "config.json", json.dumps(config.to_dict(), indent=1).encode())
    states = [load_trial_model(*parent).state_dict() for parent in parents]
    model = create_model(config.model, size=config.size, names_seed=config.names_seed)
    model.load_state_dict(interpolate(states[0], states[1], mixture.weight))
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    write_atomically(folder / WEIGHTS, safetensors.torch.save(weights))
    attacks = {label: create_attack(**params) for label, params in config.attacks.items()}
    model = model.to(device).to(memory_format=torch.channels_last)
    attacked = rows[rows["split"] != "train"]
    scores = evaluate(model, images, attacked, attacks, precision=config.recipe.attack_precision)
    write_scores(folder / SCORES, scores, metadata_of(config, folder))
    return scores
