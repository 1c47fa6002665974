"""How many images fit in memory at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.models.scorer import Scorer

MAX_BATCH_BYTES = 2**30
"""Activations that one batch may keep for its backward pass. A constant, so that a model's batches, and with them the
last bits of its scores, do not depend on what else the machine is doing."""


def fitting_batch_size(model: Scorer, height: int, width: int, *, at_most: int) -> int:
    """Images of that size whose activations fit `MAX_BATCH_BYTES`, from 1 to `at_most`.

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
    return min(at_most, max(1, MAX_BATCH_BYTES // max(1, sum(kept.values()))))
