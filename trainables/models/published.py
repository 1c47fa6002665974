"""The authors' own checkpoint files, loaded into this project's models.

Files come from strangers, so nothing but tensors and plain containers is ever unpickled.
"""

from __future__ import annotations

import math
import os
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainables.models import create_model
from trainables.models.scorer import Scorer
from trainables.trust import read_weights

State = Mapping[str, Tensor]

SIGNATURES = {
    "hyperiqa": "fc1w_conv.weight",
    "dbcnn": "features2.0.weight",
    "linearityiqa": "dr6.0.weight",
    "maniqa": "tablock1.0.c_q.weight",
    "paq2piq": "body.0.weight",
}
"""A key that only this model's checkpoints hold."""

SCNN_HEAD = ("projection.", "classifier.")
"""What DBCNN's S-CNN has besides `features` while it is pre-trained on distortion types; DBCNN leaves it out."""

COUNTER = ".num_batches_tracked"
"""BatchNorm's counter, which files from before PyTorch 0.4.1 lack and which scoring does not need."""

NESTED = (
    *("params_ema", "state_dict_ema", "model_ema", "ema"),  # averaged weights are what authors report on
    *("params", "state_dict", "model_state_dict", "model_state", "model", "network", "net", "module", "weights"),
)
"""Where training code keeps the state dict beside epoch and optimiser; the first one that is there is taken."""

DEPTH = 3
"""How many of them may lie in each other, as in `{"ema": {"module": {...}}}`."""

SWIN_CONVOLUTION = re.compile(r"swintransformer\d\.layers\.\d+\.conv\.(weight|bias)")
"""The last parameters of MANIQA's layers before their output is rectified and scaled."""

NUM_NAMED = 3
"""How many offending keys an error names."""


class Published(NamedTuple):
    """What a checkpoint file holds."""

    state: State
    """The bare network's."""
    to_mos: tuple[float, float] | None
    """`scale` and `offset`, where the file has them."""
    is_ours: bool
    """Whether it is a whole `Scorer`'s, as trials and exports keep it."""


def load_published(path: str | os.PathLike[str], name: str | None = None, *, swin_scale: float | None = None) -> Scorer:
    """The paper-size model that the checkpoint at `path` belongs to, with its weights, in eval mode.

    Takes a bare state dict or one under a name of `NESTED`, with or without what wrappers such as DataParallel put
    before every key, and `.safetensors`. LinearityIQA's `k` and `b` become the model's `scale` and `offset`. The model
    is recognised by its keys when `name` is None. DBCNN's S-CNN file is not a whole model: load it into one with
    `load_weights`. `swin_scale`: the `scale` of a MANIQA checkpoint's training code, which the file does not say.

    Raises ValueError for a missing, truncated or unsafe file and for keys that do not fit the model.
    """
    published = _read(Path(path))
    if _is_scnn(published.state):
        raise ValueError(
            f"{path} holds only the S-CNN stream of DBCNN; "
            f"use load_weights(create_model('dbcnn', pretrained=True), {str(path)!r})"
        )
    model = create_model(name or _recognise(published.state, path))
    _fill(model, published, path, swin_scale)
    return model.eval()


def load_weights(model: Scorer, path: str | os.PathLike[str], *, swin_scale: float | None = None) -> None:
    """Load the checkpoint at `path` into `model`; DBCNN's S-CNN file fills the stream `features2` alone.

    Raises ValueError as `load_published` does; the model is then as it was.
    """
    _fill(model, _read(Path(path)), path, swin_scale)


def _read(path: Path) -> Published:
    checkpoint = _load(path)
    state = _without_wrappers(_state_in(checkpoint, path))
    if {"scale", "offset"} < state.keys():
        ours = {key: value for key, value in state.items() if key.startswith("network.")}
        return Published(_without_wrappers(ours), (float(state["scale"]), float(state["offset"])), is_ours=True)
    rescaling = [_final(checkpoint[key], key, path) for key in ("k", "b") if key in checkpoint]
    return Published(state, (rescaling[0], rescaling[1]) if len(rescaling) == 2 else None, is_ours=False)


def _load(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"there is no checkpoint file at {path}")
    if path.suffix == ".safetensors":
        return read_weights(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        # Without its cause, because torch's own message suggests to unpickle the file all the same.
        raise ValueError(
            f"{path} is no checkpoint that can be loaded safely: unpickling "
            f"{found[1] if found else 'what it holds'} could run code; save its state_dict() with torch.save instead"
        ) from None
    except Exception as error:  # broken files fail in more ways than can be listed
        raise ValueError(f"{path} is truncated or no PyTorch checkpoint; fetch it again") from error


def _state_in(checkpoint: Any, path: object) -> State:
    state = _nested(checkpoint, DEPTH)
    if state is not None:
        return state
    keys = isinstance(checkpoint, Mapping) and [str(key) for key in checkpoint]
    raise ValueError(
        f"{path} holds no state dict: expected parameter names and tensors, bare or under {', '.join(NESTED)}; "
        f"found {f'the keys {_first(keys)}' if keys else 'nothing of the kind'}"
    )


def _nested(values: Any, depth: int) -> State | None:
    if not isinstance(values, Mapping) or _is_state(values):
        return values if isinstance(values, Mapping) else None
    found = (_nested(values.get(name), depth - 1) for name in NESTED if depth > 0)
    return next((state for state in found if state is not None), None)


def _is_state(values: Mapping[Any, Any]) -> bool:
    return bool(values) and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in values.items())


def _without_wrappers(state: State) -> State:
    """Without the names that all keys begin with: DataParallel's `module.`, Lightning's `model.`, …; no network of the
    registry consists of one part."""
    while len(state) > 1 and all("." in key for key in state) and len({key.split(".", 1)[0] for key in state}) == 1:
        state = {key.split(".", 1)[1]: value for key, value in state.items()}
    return state


def _is_scnn(state: State) -> bool:
    return any(key.startswith(SCNN_HEAD) for key in state)


def _recognise(state: State, path: object) -> str:
    names = [name for name, key in SIGNATURES.items() if key in state]
    if len(names) != 1:
        raise ValueError(
            f"{path} is no checkpoint of {', '.join(SIGNATURES)}; its first keys are {_first(list(state))}"
        )
    return names[0]


def _fill(model: Scorer, published: Published, path: object, swin_scale: float | None) -> None:
    network, state = model.network, published.state
    if _is_scnn(state) and hasattr(network, "features2"):
        features = {key: value for key, value in state.items() if not key.startswith(SCNN_HEAD)}
        state = {key.removeprefix("features."): value for key, value in features.items()}
        network = network.get_submodule("features2")
    _require_fit(network.state_dict(), state, path)
    if not published.is_ours:
        state = _scaled(state, getattr(network, "swin_scale", None), swin_scale, path)
    network.load_state_dict(state)
    if published.to_mos is not None:
        model.scale.fill_(published.to_mos[0])
        model.offset.fill_(published.to_mos[1])


def _scaled(state: State, ours: float | None, theirs: float | None, path: object) -> State:
    """MANIQA's weights for a network whose layers are scaled by `ours`, from those for `theirs`.

    A layer ends with a convolution and a ReLU, so its scale may as well be the convolution's.
    """
    if ours is None:
        if theirs is not None:
            raise ValueError(f"{path}: only MANIQA's checkpoints need a swin_scale; leave it out")
        return state
    if theirs is None:
        raise ValueError(
            f"{path}: a MANIQA checkpoint does not say by which `scale` its training code scaled the Swin layers, and "
            "its scores are wrong under another one; give it as swin_scale (--swin-scale): 0.8 for the KonIQ-10k "
            "release and for models of this project, 0.13 for PIPAL's, else see the `scale` in that code"
        )
    if not (math.isfinite(theirs) and theirs > 0):
        raise ValueError(f"{path}: swin_scale is a positive number, such as 0.8, got {theirs}")
    return {key: value * (theirs / ours) if SWIN_CONVOLUTION.fullmatch(key) else value for key, value in state.items()}


def _final(values: object, key: str, path: object) -> float:
    """LinearityIQA's k or b of its final output, the first of three."""
    first = values[0] if isinstance(values, Sequence) and values else values
    if isinstance(first, int | float) and math.isfinite(first):
        return float(first)
    raise ValueError(f"{path}: expected finite numbers under {key!r}, got {values!r}")


def _require_fit(expected: State, state: State, path: object) -> None:
    misshapen = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    problems = {
        "missing": [key for key in expected if key not in state and not key.endswith(COUNTER)],
        "unexpected": [key for key in state if key not in expected],
        "misshapen": misshapen,
    }
    found = [f"{len(keys)} {kind} ({_first(keys)})" for kind, keys in problems.items() if keys]
    if found:
        raise ValueError(f"{path} does not fit the model; keys: {'; '.join(found)}")


def _first(keys: list[str]) -> str:
    return ", ".join(keys[:NUM_NAMED]) + (", …" if len(keys) > NUM_NAMED else "")
