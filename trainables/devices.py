"""Which devices there are to compute on."""

from __future__ import annotations

import torch


def usable_device(name: str) -> torch.device:
    """The device called `name`, such as "cpu", "cuda" or "cuda:1". ValueError, saying what is here, for any other."""
    try:
        device = torch.device(name)
    except RuntimeError:  # no device of any machine
        device = torch.device("meta")
    here = devices()
    if str(device) not in here and f"{device}:0" not in here:
        raise ValueError(f"there is no device {name!r} here to compute on; here are: {', '.join(here)}")
    return device


def devices() -> list[str]:
    """This machine's devices as PyTorch names them: "cpu", then its accelerators, each with its number."""
    if not torch.accelerator.is_available():
        return ["cpu"]
    accelerator = torch.accelerator.current_accelerator()
    assert accelerator is not None
    return ["cpu", *(f"{accelerator.type}:{number}" for number in range(torch.accelerator.device_count()))]
