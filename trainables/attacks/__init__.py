"""The attacks, by name: `create_attack(name, **params)(score, images) -> adversarial`."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from trainables.attacks.apgd import AutoPgd
from trainables.attacks.base import Attack
from trainables.attacks.iterative import Iterative
from trainables.attacks.kor import Korhonen
from trainables.attacks.noise import Noise
from trainables.attacks.perceptual import Perceptual
from trainables.attacks.transfer import Transfer
from trainables.attacks.uap import UniversalPerturbation

ATTACKS: dict[str, tuple[Callable[..., Attack], Mapping[str, Any]]] = {
    "fgsm": (Iterative, {"steps": 1}),
    "ifgsm": (Iterative, {"steps": 10}),
    "perceptual": (Perceptual, {}),
    "uap": (UniversalPerturbation, {}),
    "kor": (Korhonen, {}),
    "noise": (Noise, {}),
    "apgd": (AutoPgd, {}),
    "transfer": (Transfer, {}),
}
"""Name -> the attack's class and the parameters in which the name differs from the class's defaults."""


def create_attack(name: str, **params: Any) -> Attack:
    """An attack from the registry; parameters default to the paper's settings.

    Raises ValueError for an unknown attack or parameter (with the nearest name) and for values out of range.
    """
    if name not in ATTACKS:
        raise ValueError(f"unknown attack {name!r}{_suggest(name, ATTACKS)}")
    attack_class, defaults = ATTACKS[name]
    known = inspect.signature(attack_class).parameters
    for param in params:
        if param not in known:
            raise ValueError(f"attack {name!r} has no parameter {param!r}{_suggest(param, known)}")
    return attack_class(**{**defaults, **params})


def _suggest(name: str, known: Mapping[str, Any]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else f"; choose one of {', '.join(known)}"
