"""The quality models by name. Adding one is a file with a `build` function and a line here (docs/extending.md)."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import get_args

from trainables.models import dbcnn, hyperiqa, linearityiqa, maniqa, paq2piq, resnet50_substitute
from trainables.models.scorer import Scorer, Size

MODELS: dict[str, Callable[[Size, bool], Scorer]] = {
    "hyperiqa": hyperiqa.build,
    "dbcnn": dbcnn.build,
    "linearityiqa": linearityiqa.build,
    "maniqa": maniqa.build,
    "paq2piq": paq2piq.build,
    "resnet50_substitute": resnet50_substitute.build,
}


def create_model(name: str, size: Size = "paper", pretrained: bool = False) -> Scorer:
    """A model of the registry, in train mode.

    `paper` is the published architecture with the published parameter names, `small` the same idea at a width and an
    input size that train on two CPU cores in a minute or two. Weights are drawn from torch's global generator;
    `pretrained` starts the backbone of a `paper` model from ImageNet weights instead.

    Raises ValueError for an unknown name or size, for `small` with `pretrained`, and when the ImageNet weights are
    neither cached nor to be had.
    """
    if name not in MODELS:
        nearest = get_close_matches(name, MODELS, n=1, cutoff=0.0)
        raise ValueError(f"unknown model {name!r}; did you mean {nearest[0]!r}? There are {', '.join(MODELS)}")
    if size not in get_args(Size):
        raise ValueError(f"unknown model size {size!r}; expected one of {', '.join(get_args(Size))}")
    if pretrained and size != "paper":
        raise ValueError("only paper-size models have pretrained weights; use size='paper' or pretrained=False")
    return MODELS[name](size, pretrained)
