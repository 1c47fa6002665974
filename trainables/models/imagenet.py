"""ImageNet weights for the paper-size backbones, from the caches that torchvision and timm use anyway.

A cached file is used without asking the network. Without one the library's own download is tried; when that fails, the
error says which file belongs where. Nothing but tensors is ever unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum


def load_torchvision(module: nn.Module, weights: WeightsEnum, *, skip: str, prefix: str = "") -> None:
    """Load torchvision's `weights` into `module`: all keys but those that start with `skip`, less their `prefix`."""
    place = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # a download or a broken file fails in too many ways to list
        raise ValueError(_advice(weights.url, place, "TORCH_HOME", error)) from error
    module.load_state_dict(
        {key.removeprefix(prefix): value for key, value in state.items() if not key.startswith(skip)}
    )


def load_timm(module: nn.Module, tag: str) -> None:
    """Load the weights of timm's model `tag` into `module`, from the Hugging Face cache (HF_HUB_CACHE, HF_HOME)."""
    module.load_state_dict(_timm_state(f"timm/{tag}", "model.safetensors"))


def _timm_state(repository: str, name: str) -> Mapping[str, Tensor]:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from safetensors.torch import load_file

    cache = _hugging_face_cache()
    try:
        cached = try_to_load_from_cache(repository, name, cache_dir=cache)
        return load_file(cached if isinstance(cached, str) else hf_hub_download(repository, name, cache_dir=cache))
    except Exception as error:  # a download or a broken file fails in too many ways to list
        place = cache / f"models--{repository.replace('/', '--')}"
        raise ValueError(
            _advice(f"{name} of the Hugging Face repository {repository}", place, "HF_HOME", error)
        ) from error


def _hugging_face_cache() -> Path:
    """Read at every call, as torch reads TORCH_HOME; huggingface_hub itself looks only when it is imported."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _advice(source: str, place: Path, variable: str, error: Exception) -> str:
    return (
        f"ImageNet weights could not be loaded ({type(error).__name__}: {error}); download {source} on a machine with "
        f"network access and put it at {place} (under {variable}), or use pretrained=False"
    )
