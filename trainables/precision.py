"""In which floating-point arithmetic a network is computed: chosen by name, set by context, never left changed.

What a name really computes depends on the device, so `computed` says it, and each epoch's row records it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainables.config import Precision

if TYPE_CHECKING:
    from trainables.models.scorer import Scorer

DEFAULT: Precision = "conv_tf32"
"""What was computed before there was a choice."""


@contextmanager
def computing_in(precision: Precision, model: Scorer) -> Iterator[None]:
    """Inside, `model` computes in `precision`, forward and backward; afterwards all settings are as they were.

    TF32 is a setting of the process, so one process computes in one precision at a time.
    """
    before, model.autocast_to = model.autocast_to, torch.bfloat16 if precision == "bf16" else None
    try:
        with _tf32(precision) if model.mean.is_cuda else nullcontext():
            yield
    finally:
        model.autocast_to = before


@contextmanager
def _tf32(precision: Precision) -> Iterator[None]:
    matmul, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolutions.allow_tf32
    matmul.allow_tf32, convolutions.allow_tf32 = precision in ("tf32", "bf16"), precision != "fp32"
    try:
        yield
    finally:
        matmul.allow_tf32, convolutions.allow_tf32 = before


def computed(precision: Precision, device: torch.device) -> Precision:
    """What `precision` comes to on `device`."""
    if precision == "bf16":
        return precision
    has_tf32 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return precision if has_tf32 else "fp32"


def scoring(precision: Precision) -> Precision:
    """The precision of the scores that are recorded, where attacks follow gradients in `precision`.

    float32, whatever the attacks use; what does not choose is scored as it always was.
    """
    return precision if precision == DEFAULT else "fp32"


def in_float32(head: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A method from features to scores that autocast must not touch: its tensors are cast up and it runs in float32.

    A score in bfloat16 has 8 significant bits; the finite difference of two of them is rounding noise. Without
    autocast the method is called as it is.
    """

    @wraps(head)
    def precise(network: Any, *features: Tensor) -> Tensor:
        device = features[0].device.type
        if not torch.is_autocast_enabled(device):
            return head(network, *features)
        with torch.autocast(device, enabled=False):
            return head(network, *(feature.float() for feature in features))

    return precise
