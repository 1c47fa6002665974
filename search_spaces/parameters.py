"""Parameters of attacks, losses and defences, as a study file or a command line names them, in their own types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from trainables.attacks import ATTACKS, PLACES, check_suite, parameters_of
from trainables.defences import DEFENCES, check_defence, defence_class
from trainables.losses import LOSSES, create_loss
from trainables.wrappers import create_wrapper, wrapper_class
from trainables.wrappers.base import Wrapper


def typed_suite(suite: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Label -> {"name": …, parameters}, each parameter of its attack's type: "8/255" is a number, "true" a truth.

    Raises ValueError, one sentence, for an unknown attack or parameter, with the nearest name, and for a value that
    is of another type or out of range.
    """
    return {label: typed_attack(label, entry) for label, entry in suite.items()}


def typed_attack(label: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of a suite; see `typed_suite`."""
    name = str(entry["name"])
    parameters_of(name)
    params = {key: value for key, value in entry.items() if key != "name"}
    typed = {"name": name, **_typed(ATTACKS[name][0], params, f"attack {label!r}", surrogate=str | Path)}
    # What a path names is looked for when it is used: it may still be relative to another folder.
    check_suite({label: {key: value for key, value in typed.items() if key not in PLACES}})
    return typed


def parse_attacks(text: str, eps: str | float | None = None, seed: int | None = None) -> dict[str, dict[str, Any]]:
    """`fgsm,ifgsm:steps=3` -> label -> {"name": …, parameters}.

    eps, seed: for every attack that has such a parameter and does not set it. The label is the name, or the whole entry
    where the name is taken; `_best` is added where the best iterate is kept. Raises ValueError as `typed_suite`.
    """
    chosen: dict[str, dict[str, Any]] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, *settings = entry.split(":")
        params = _settings(settings, entry, "attack")
        for parameter, common in (("eps", eps), ("seed", seed)):
            if common is not None and parameter in parameters_of(name):
                params.setdefault(parameter, common)
        attack = typed_attack(entry, {"name": name, **params})
        label = f"{name}_best" if attack.get("best_iterate") else name
        chosen[entry if label in chosen else label] = attack
    return chosen


def parse_wrapper(text: str) -> Wrapper:
    """`jpeg:quality=60` -> that defence of a trained model. Raises ValueError as `typed_suite`."""
    name, *settings = text.split(":")
    if name in DEFENCES:
        raise ValueError(
            f"{name!r} is trained with and not put before a trained model: nt-study launch BASELINE --defence {name}"
        )
    typed = _typed(wrapper_class(name), _settings(settings, text, "defence"), f"defence {name!r}")
    return create_wrapper(name, **typed)


def _settings(settings: Sequence[str], entry: str, kind: str) -> dict[str, Any]:
    """`["steps=3"]` -> `{"steps": "3"}`."""
    params: dict[str, Any] = {}
    for setting in settings:
        key, is_set, value = setting.partition("=")
        if not is_set:
            raise ValueError(f"{setting!r} in the {kind} {entry!r} sets no parameter; write name:parameter=value")
        params[key] = value
    return params


def typed_loss(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """A loss's parameters in their types. ValueError, one sentence, for an unknown loss, parameter or a wrong value."""
    create_loss(name)
    typed = _typed(LOSSES[name], params, f"loss {name!r}")
    create_loss(name, **typed)
    return typed


def typed_defence(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """A defence's parameters in their types; ValueError as `typed_loss`."""
    check_defence(name, {})
    typed = _typed(defence_class(name), params, f"defence {name!r}")
    check_defence(name, typed)
    return typed


def _typed(owner: Callable[..., Any], params: Mapping[str, Any], what: str, **others: Any) -> dict[str, Any]:
    """`params` as `owner` and `others` annotate them; names that neither has are left to the owner's own check."""
    hints = others | get_type_hints(owner, include_extras=True)
    known = {key: value for key, value in params.items() if key in hints}
    fields: dict[str, Any] = {key: (hints[key], ...) for key in known}
    model = create_model("Parameters", __config__=ConfigDict(arbitrary_types_allowed=True), **fields)
    try:
        found = model.model_validate(known)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        got = "" if "got" in message else f", got {first['input']!r}"
        raise ValueError(f"{what}: {first['loc'][0]}: {message}{got}") from None
    return {**params, **{key: getattr(found, key) for key in known}}
