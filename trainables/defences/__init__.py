"""Defences of training, by name: what stands beside the training loss. Adding one: docs/extending.md."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from trainables.config import TrialConfig
from trainables.defences.adversarial_training import AdversarialTraining
from trainables.defences.base import Defence, NoDefence
from trainables.defences.exact_norm import ExactNorm
from trainables.defences.nt import NormTraining
from trainables.defences.rank_margin import RankMargin
from trainables.defences.trades import Trades
from trainables.registry import look_up

DEFENCES: dict[str, type[Defence]] = {
    "nt": NormTraining,
    "exact_norm": ExactNorm,
    "adversarial_training": AdversarialTraining,
    "trades": Trades,
    "rank_margin": RankMargin,
    "none": NoDefence,
}
"""Name -> class. A name's search space is `search_spaces/defences/<name>.yaml`, NT's the baseline's own."""

OF_THE_TRIAL = ("lam", "step_size")
"""What a trial's configuration says itself; every other parameter of a defence is in `Recipe.defence_params`."""


def defence_class(name: str) -> type[Defence]:
    """The class of a defence; ValueError for an unknown name, with the nearest one."""
    return look_up(DEFENCES, name, "defence")


def parameters_of(name: str) -> list[str]:
    """What a recipe's `defence_params` may hold."""
    known = inspect.signature(defence_class(name)).parameters
    return [parameter for parameter in known if parameter not in OF_THE_TRIAL]


def check_defence(name: str, params: Mapping[str, Any]) -> None:
    """Raise ValueError, one sentence, for an unknown defence or parameter and for a value out of range."""
    known = parameters_of(name)
    for param in params:
        if param in OF_THE_TRIAL:
            raise ValueError(f"defence {name!r}: {param} is searched, so its range belongs into the space")
        if param not in known:
            raise ValueError(f"defence {name!r} has no parameter {param!r}; it takes {', '.join(known) or 'none'}")
    _made(name, params, step_size=1.0)


def defence_of(config: TrialConfig) -> Defence:
    """What a trial is trained with: its recipe's defence, or none where λ is 0, as for the baseline."""
    if config.lam == 0:
        return NoDefence()
    return _made(config.recipe.defence, config.recipe.defence_params, config.step_size)


def trains_on_one_step(config: TrialConfig) -> bool:
    """Whether a trial's defence makes its adversarial inputs in one gradient step, as FGSM does."""
    return getattr(defence_of(config), "steps", None) == 1


def _made(name: str, params: Mapping[str, Any], step_size: float) -> Defence:
    maker: Callable[..., Defence] = defence_class(name)
    own = {"step_size": step_size} if "step_size" in inspect.signature(maker).parameters else {}
    return maker(**{**params, **own})
