"""Every random choice derives from the study's seed and the names of what it is for."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *names: str | int) -> int:
    """A seed for one purpose, such as `derive_seed(study_seed, "batches", epoch)`.

    In 0..2**32 - 1, the range that torch, NumPy and Optuna all take; equal in every process and on every machine,
    unlike Python's own `hash`.
    """
    key = "/".join([str(int(seed)), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big")


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator started from `derive_seed(seed, *names)`."""
    import torch  # here, so that what only derives seeds starts without it

    return torch.Generator().manual_seed(derive_seed(seed, *names))
