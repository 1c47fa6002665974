"""How many images fit in memory at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.models.scorer import Scorer

MAX_BATCH_BYTES = 2**30
"""Activations that one batch may keep for its backward pass. A constant, so that a model's batches, and with them the
last bits of its scores, do not depend on what else the machine is doing."""
SHARE_OF_CARD = 1 / 8
"""The same for a CUDA card, as a share of all its memory: a card is slow at small batches. The rest is for what a step
makes on the way, the training that is paused meanwhile, and up to four trials that share the card."""


def fitting_batch_size(model: Scorer, height: int, width: int, *, at_most: int) -> int:
    """Images of that size whose activations fit `MAX_BATCH_BYTES`, or a card's share, from 1 to `at_most`.

    Measured on one image, without parameter gradients if the parameters ask for none.
    """
    image = torch.zeros(1, 3, height, width, device=model.mean.device, requires_grad=True)
    parameters = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in parameters:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(image)
    return min(at_most, max(1, _room(model.mean.device) // max(1, sum(kept.values()))))


def _room(device: torch.device) -> int:
    if device.type != "cuda":
        return int(MAX_BATCH_BYTES)
    return max(MAX_BATCH_BYTES, int(SHARE_OF_CARD * torch.cuda.get_device_properties(device).total_memory))
