"""A training step recorded once as a CUDA graph and replayed: at small batches a card waits for launches otherwise.

A recorded step reads and writes the same memory every time. So its inputs are copied into tensors of its own, its
optimiser keeps learning rates and step counts as tensors, and nothing in it may depend on values that the host sees.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(images, targets) -> two scalars, such as loss and penalty; changes the model and the optimiser in place."""

WARM_UP_STEPS = 3
"""Before recording: libraries choose their algorithms and make their workspaces, and the optimiser its state."""

logger = logging.getLogger(__name__)


class RecordedStep:
    """Called like the step that it was recorded from, with batches of one size."""

    def __init__(self, step: Step, images: Tensor, targets: Tensor) -> None:
        """`images` and `targets` become its own: every batch is copied into them."""
        self.images, self.targets = images, targets
        self._replay, self._results = record(lambda: step(images, targets))

    def takes(self, images: Tensor) -> bool:
        return images.shape == self.images.shape

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        self.images.copy_(images, non_blocking=True)
        self.targets.copy_(targets, non_blocking=True)
        self._replay()
        first, second = self._results
        return first.clone(), second.clone()


def record_step(
    step: Step, images: Tensor, targets: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer
) -> RecordedStep | None:
    """`step` recorded on a batch like `images` and `targets`, whose values do not matter; None where it cannot be.

    The reason is then in the log. Model, optimiser and random numbers are as before.
    """
    try:
        with unchanged(model, optimizer, images.device):
            warm_up(lambda: step(images, targets), images.device)
        return RecordedStep(step, images, targets)
    except Exception as error:  # whatever it is, the step without a graph works or raises it again
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        logger.warning("no CUDA graph of the training step, so it is launched piece by piece: %s", reason)
        return None


def warm_up(step: Callable[[], object], device: torch.device) -> None:
    """Run `step` on a stream of its own, where nothing that it allocates gets into the way of a recording."""
    here, aside = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    aside.wait_stream(here)
    try:
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_STEPS):
                step()
    finally:
        here.wait_stream(aside)


def record(step: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Callable[[], None], tuple[Tensor, Tensor]]:
    """What replays `step`, and the tensors in which its results then stand. Nothing is computed yet."""
    graph = torch.cuda.CUDAGraph()
    # Another thread of this process, such as one that pins memory, may go on with its own work.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        results = step()
    return graph.replay, results


@contextmanager
def unchanged(model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> Iterator[None]:
    """Put back, in place, what steps inside change: parameters, buffers, the optimiser's state, random numbers."""
    values = [*model.parameters(), *model.buffers(), *state_tensors(optimizer)]
    kept = [value.detach().clone() for value in values]
    cards = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(cards):
            yield
    finally:
        optimizer.zero_grad(set_to_none=True)
        clear_state(optimizer)  # of what the first step inside has made
        with torch.no_grad():
            for value, was in zip(values, kept, strict=True):
                value.copy_(was)


def clear_state(optimizer: torch.optim.Optimizer) -> None:
    """Set SGD's and Adam's moments and step counts to zero, which is where a new optimiser starts, in place."""
    for value in state_tensors(optimizer):
        value.zero_()


def state_tensors(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
