"""The attacks, by name: `create_attack(name, **params)(score, images) -> adversarial`."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from trainables.attacks.again import Again
from trainables.attacks.apgd import AutoPgd
from trainables.attacks.base import Attack
from trainables.attacks.iterative import Iterative
from trainables.attacks.kor import Korhonen
from trainables.attacks.mad import MaximumDifferentiation
from trainables.attacks.noise import Noise
from trainables.attacks.perceptual import Perceptual
from trainables.attacks.rank import Rank, SquareRank
from trainables.attacks.square import Square
from trainables.attacks.stadv import SpatialTransform
from trainables.attacks.transfer import Transfer
from trainables.attacks.uap import UniversalPerturbation
from trainables.registry import look_up

ATTACKS: dict[str, tuple[Callable[..., Attack], Mapping[str, Any]]] = {
    "fgsm": (Iterative, {"steps": 1}),
    "ifgsm": (Iterative, {"steps": 10}),
    "perceptual": (Perceptual, {}),
    "uap": (UniversalPerturbation, {}),
    "kor": (Korhonen, {}),
    "noise": (Noise, {}),
    "apgd": (AutoPgd, {}),
    "square": (Square, {}),
    "stadv": (SpatialTransform, {}),
    "again": (Again, {}),
    "transfer": (Transfer, {}),
    "rank": (Rank, {}),
    "rank_square": (SquareRank, {}),
    "mad": (MaximumDifferentiation, {}),
}
"""Name -> the attack's class and the parameters in which the name differs from the class's defaults."""

SURROGATES = {"uap": "paq2piq", "kor": "resnet50_substitute"}
"""Black-box attack -> the model that the paper made it on."""

PLACES = ("perturbation", "surrogate")
"""Parameters that name a file or a folder."""

Suite = Mapping[str, Mapping[str, Any]]
"""Label -> {"name": …, parameters}; a black-box attack may name a trained surrogate's place as `surrogate`."""


def create_attack(name: str, **params: Any) -> Attack:
    """An attack from the registry; parameters default to the paper's settings.

    Raises ValueError for an unknown attack or parameter (with the nearest name), for a missing one, for values out
    of range.
    """
    known = parameters_of(name)
    for param in params:
        if param not in known:
            raise ValueError(f"attack {name!r} has no parameter {param!r}{_suggest(param, known)}")
    for param, described in known.items():
        if described.default is inspect.Parameter.empty and param not in params:
            raise ValueError(f"attack {name!r} needs its parameter {param!r}")
    attack_class, defaults = ATTACKS[name]
    return attack_class(**{**defaults, **params})


def check_suite(suite: Suite) -> None:
    """Raise ValueError for an unknown attack or parameter, before anything is trained for the sake of another."""
    made_later: dict[str, dict[str, Any]] = {
        "transfer": {"source": lambda images: images.sum((1, 2, 3))},
        "mad": {"source": lambda images: images.sum((1, 2, 3))},
        "uap": {"perturbation": torch.zeros(3, 1, 1)},
    }
    for entry in suite.values():
        params = dict(entry)
        name = str(params.pop("name"))
        if name in SURROGATES:
            params.pop("surrogate", None)
        create_attack(name, **(made_later.get(name, {}) | params))


def check_trial_attacks(attacks: Suite) -> None:
    """Raise ValueError for an attack that a trial, which has its own model only, cannot make by itself."""
    for label, entry in attacks.items():
        if entry["name"] in SURROGATES or needs_source(entry):
            raise ValueError(
                f"attacks: {label!r} ({entry['name']}) is made on another model than the trial's; put it under suite, "
                "which runs when the models are there (--full-suite)"
            )


def needs_source(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a suite is made with another model, the study's λ=0 baseline, as its `source`."""
    return entry["name"] == "transfer" or (entry["name"] == "mad" and entry.get("hold", "source") == "source")


def parameters_of(name: str) -> Mapping[str, inspect.Parameter]:
    """The parameters that `create_attack(name)` takes; ValueError for an unknown attack, with the nearest name."""
    return inspect.signature(look_up(ATTACKS, name, "attack")[0]).parameters


def _suggest(name: str, known: Mapping[str, Any]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else f"; choose one of {', '.join(known)}"
