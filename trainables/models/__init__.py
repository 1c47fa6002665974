"""The quality models by name. Adding one is a file with a `build` function and a line here (docs/extending.md)."""

from __future__ import annotations

import dataclasses
import importlib
from typing import get_args

from trainables.models.scorer import Scorer, Size
from trainables.registry import look_up

MODELS: dict[str, str] = {
    "hyperiqa": "trainables.models.hyperiqa",
    "dbcnn": "trainables.models.dbcnn",
    "linearityiqa": "trainables.models.linearityiqa",
    "maniqa": "trainables.models.maniqa",
    "paq2piq": "trainables.models.paq2piq",
    "resnet50_substitute": "trainables.models.resnet50_substitute",
}
"""Name -> the module whose `build(size, pretrained)` makes it; imported when asked for: torchvision takes seconds."""


def create_model(name: str, size: Size = "paper", pretrained: bool = False, names_seed: int | None = None) -> Scorer:
    """A model of the registry, in train mode.

    `paper` is the published architecture with the published parameter names, `small` the same idea at a width and an
    input size that train on two CPU cores in a minute or two. Weights are drawn from torch's global generator;
    `pretrained` starts the backbone of a `paper` model from ImageNet weights instead. `names_seed`: that of
    `InputSpec`, for a model of a record that cut its views by the images' names.

    Raises ValueError for an unknown name or size, for `small` with `pretrained`, and when the ImageNet weights are
    neither cached nor can be downloaded.
    """
    module = look_up(MODELS, name, "model")
    if size not in get_args(Size):
        raise ValueError(f"unknown model size {size!r}; expected one of {', '.join(get_args(Size))}")
    if pretrained and size == "small":
        raise ValueError("small models have no pretrained weights; use size='mobile' or 'paper', or pretrained=False")
    model: Scorer = importlib.import_module(module).build(size, pretrained)
    model.input_spec = dataclasses.replace(model.input_spec, names_seed=names_seed)
    return model
