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
from typing import Any

import torch
from torch import Tensor

from trainables.models import create_model
from trainables.models.scorer import Scorer

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

NUM_NAMED = 3
"""How many offending keys an error names."""


def load_published(path: str | os.PathLike[str], name: str | None = None) -> Scorer:
    """The paper-size model that the checkpoint at `path` belongs to, with its weights, in eval mode.

    Takes a bare state dict or one under `model`, with or without DataParallel's `module.` prefix. LinearityIQA's `k`
    and `b` become the model's `scale` and `offset`. The model is recognised by its keys when `name` is None. DBCNN's
    S-CNN file is not a whole model: load it into one with `load_weights`.

    Raises ValueError for a missing, truncated or unsafe file and for keys that do not fit the model.
    """
    checkpoint = _read(Path(path))
    state = _state(checkpoint, path)
    if _is_scnn(state):
        raise ValueError(
            f"{path} holds only the S-CNN stream of DBCNN; "
            f"use load_weights(create_model('dbcnn', pretrained=True), {str(path)!r})"
        )
    model = create_model(name or _recognise(state, path))
    _fill(model, checkpoint, state, path)
    return model.eval()


def load_weights(model: Scorer, path: str | os.PathLike[str]) -> None:
    """Load the checkpoint at `path` into `model`; DBCNN's S-CNN file fills the stream `features2` alone.

    Raises ValueError as `load_published` does; the model is then as it was.
    """
    checkpoint = _read(Path(path))
    _fill(model, checkpoint, _state(checkpoint, path), path)


def _read(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"there is no checkpoint file at {path}")
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


def _state(checkpoint: Any, path: object) -> State:
    state = checkpoint
    if isinstance(state, Mapping) and isinstance(state.get("model"), Mapping):
        state = state["model"]
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no state dict: expected parameter names and tensors, bare or under 'model'")
    if all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
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


def _fill(model: Scorer, checkpoint: Any, state: State, path: object) -> None:
    network = model.network
    if _is_scnn(state) and hasattr(network, "features2"):
        features = {key: value for key, value in state.items() if not key.startswith(SCNN_HEAD)}
        state = {key.removeprefix("features."): value for key, value in features.items()}
        network = network.get_submodule("features2")
    rescaling = [_final(checkpoint[key], key, path) for key in ("k", "b") if key in checkpoint]
    _require_fit(network.state_dict(), state, path)
    network.load_state_dict(state)
    if len(rescaling) == 2:
        model.scale.fill_(rescaling[0])
        model.offset.fill_(rescaling[1])


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
