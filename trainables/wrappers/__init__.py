"""Defences that wrap a trained scorer, by name. Adding one is a file and a line here (docs/extending.md)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from trainables.models.scorer import Scorer
from trainables.registry import look_up
from trainables.wrappers.base import DefendedScorer, Wrapper
from trainables.wrappers.bit_depth import BitDepth
from trainables.wrappers.crops import CropEnsemble
from trainables.wrappers.jpeg import Jpeg
from trainables.wrappers.resize import Resize
from trainables.wrappers.smoothing import GaussianSmoothing, MedianSmoothing

WRAPPERS: dict[str, type[Wrapper]] = {
    "jpeg": Jpeg,
    "resize": Resize,
    "crops": CropEnsemble,
    "bit_depth": BitDepth,
    "gaussian_smoothing": GaussianSmoothing,
    "median_smoothing": MedianSmoothing,
}


def create_wrapper(name: str, **params: Any) -> Wrapper:
    """A wrapper from the registry. ValueError, one sentence, for an unknown name or parameter, or a bad value."""
    maker: Callable[..., Wrapper] = wrapper_class(name)
    known = inspect.signature(maker).parameters
    for param in params:
        if param not in known:
            raise ValueError(f"the defence {name!r} has no parameter {param!r}; it takes {', '.join(known)}")
    return maker(**params)


def wrapper_class(name: str) -> type[Wrapper]:
    """The class of a wrapper; ValueError for an unknown name, with the nearest one."""
    return look_up(WRAPPERS, name, "defence of a trained model")


def defended(scorer: Scorer, name: str, **params: Any) -> DefendedScorer:
    """`scorer` behind a wrapper; they share their weights."""
    return DefendedScorer(scorer, create_wrapper(name, **params))
