"""Models that only look robust, made on purpose from genuine ones: each hides its gradient, or has none to show."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping
from typing import Any
from zlib import crc32

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from trainables.models.scorer import Scorer

Mask = Callable[[Scorer], Scorer]
"""A genuine scorer -> a copy of it, masked."""


class Around(nn.Module):
    """A network with something done to its normalised input and to its output."""

    def __init__(
        self, network: nn.Module, before: Callable[[Tensor], Tensor] | None, after: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.network = network
        self.before = before
        self.after = after

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.network(self.before(inputs) if self.before else inputs)
        return self.after(outputs, inputs)


def around(
    model: Scorer,
    before: Callable[[Tensor], Tensor] | None = None,
    after: Callable[[Tensor, Tensor], Tensor] = lambda outputs, _: outputs,
) -> Scorer:
    masked = copy.deepcopy(model)
    masked.network = Around(masked.network, before, after)
    return masked.eval()


class _Backward(torch.autograd.Function):
    """The identity, with another gradient than its own."""

    @staticmethod
    def forward(ctx: FunctionCtx, inputs: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.change = change  # type: ignore[attr-defined]
        return inputs.clone()

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.change(gradients[0]), None  # type: ignore[attr-defined]


def gradient_through(change: Callable[[Tensor], Tensor]) -> Mask:
    """The same scores, and a gradient that `change` has been at."""
    return lambda model: around(model, before=lambda inputs: _Backward.apply(inputs, change))


def flipped(share: float) -> Mask:
    """The gradient's sign turned round at a share of the pixels, the same ones for every image."""

    def change(gradient: Tensor) -> Tensor:
        drawn = torch.rand(gradient.shape[1:], generator=torch.Generator().manual_seed(1))
        return torch.where(drawn.to(gradient.device) < share, -gradient, gradient)

    return gradient_through(change)


def random_gradient() -> Mask:
    return gradient_through(
        lambda gradient: torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1)).to(gradient)
    )


def blurred_gradient() -> Mask:
    """Averaged over 9x9 pixels, as a defence that smooths in the backward pass alone would."""
    return gradient_through(lambda gradient: nn.functional.avg_pool2d(gradient, 9, 1, 4))


def quantised(points: float, *, straight_through: bool) -> Mask:
    """Scores in whole steps of so many MOS points; straight-through keeps the gradient of before."""

    def mask(model: Scorer) -> Scorer:
        step = points / float(model.scale)

        def after(outputs: Tensor, _: Tensor) -> Tensor:
            rounded = (outputs / step).round() * step
            return outputs + (rounded - outputs).detach() if straight_through else rounded

        return around(model, after=after)

    return mask


def saturated(steepness: float) -> Mask:
    """Scores pushed to the ends of the scale, where the float has no room left for a gradient."""

    def mask(model: Scorer) -> Scorer:
        middle = (50 - float(model.offset)) / float(model.scale)
        half = 50 / float(model.scale)
        return around(model, after=lambda outputs, _: middle + half * torch.tanh(steepness * (outputs - middle) / half))

    return mask


def plateau(points: float) -> Mask:
    """A smooth staircase: nearly flat at most scores, steep between them, all in all as sensitive as before."""

    def mask(model: Scorer) -> Scorer:
        step = points / float(model.scale)

        def after(outputs: Tensor, _: Tensor) -> Tensor:
            part = outputs / step
            floor = part.floor().detach()
            return (floor + torch.sigmoid(30 * (part - floor - 0.5))) * step + 0.02 * outputs

        return around(model, after=after)

    return mask


def shattered(points: float, frequency: float) -> Mask:
    """A ripple of few points and high frequency along random directions: its gradient drowns that of the score."""

    def mask(model: Scorer) -> Scorer:
        height = points / float(model.scale)

        def after(outputs: Tensor, inputs: Tensor) -> Tensor:
            drawn = torch.randn(inputs.shape[1:], generator=torch.Generator().manual_seed(2)).to(inputs)
            return outputs + height * torch.sin(frequency * (inputs * drawn).flatten(1).mean(1))

        return around(model, after=after)

    return mask


def noisy_output(points: float) -> Mask:
    """Chance of so many points (standard deviation) on every score."""

    def mask(model: Scorer) -> Scorer:
        height = points / float(model.scale)
        return around(model, after=lambda outputs, _: outputs + height * torch.randn(outputs.shape).to(outputs))

    return mask


def noisy_input(strength: float) -> Mask:
    """Random noise on the input, drawn anew at every pass."""
    return lambda model: around(model, before=lambda inputs: inputs + strength * torch.randn(inputs.shape).to(inputs))


def hashed_noise(points: float) -> Mask:
    """The same, but derived from the image, so that scoring it twice gives one score."""

    def mask(model: Scorer) -> Scorer:
        height = points / float(model.scale)

        def drawn(image: Tensor) -> Tensor:
            seed = crc32(image.detach().cpu().numpy().tobytes())
            return torch.randn((), generator=torch.Generator().manual_seed(seed))

        return around(
            model,
            after=lambda outputs, inputs: outputs + height * torch.stack([drawn(one) for one in inputs]).to(outputs),
        )

    return mask


def jpeg(quality: int) -> Mask:
    """JPEG in front, without a gradient: what is not differentiable is no defence against one who goes round it."""

    def mask(model: Scorer) -> Scorer:
        def before(inputs: Tensor) -> Tensor:
            pixels = (inputs.detach() * model.std + model.mean).clamp(0, 1)
            levels = (pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
            decoded = torch.from_numpy(np.stack([_through_jpeg(image, quality) for image in levels]))
            return model.normalise(decoded.permute(0, 3, 1, 2).to(inputs) / 255)

        return around(model, before=before)

    return mask


def _through_jpeg(image: np.ndarray[Any, np.dtype[np.uint8]], quality: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    with Image.open(file) as opened:
        return np.array(opened)


def few_levels(levels: int) -> Mask:
    """The input in so many grey levels, without a gradient."""

    def mask(model: Scorer) -> Scorer:
        return around(model, before=lambda inputs: (inputs * levels).round() / levels)

    return mask


MASKS: Mapping[str, Mask] = {
    "sign flipped at 10 % of the pixels": flipped(0.1),
    "sign flipped at 20 %": flipped(0.2),
    "sign flipped at 30 %": flipped(0.3),
    "sign flipped at 50 %": flipped(0.5),
    "random gradient": random_gradient(),
    "blurred gradient": blurred_gradient(),
    "scores in steps of 2": quantised(2, straight_through=False),
    "scores in steps of 2, straight-through": quantised(2, straight_through=True),
    "saturated scores": saturated(20),
    "plateaus of 5 points": plateau(5),
    "ripple of 0.5 points": shattered(0.5, 1e5),
    "slow ripple of 2 points": shattered(2, 3e3),
    "chance of 2 points on scores": noisy_output(2),
    "chance on the input": noisy_input(0.1),
    "chance of 1 point, derived from the image": hashed_noise(1),
    "JPEG in front, no gradient": jpeg(50),
    "16 input levels, no gradient": few_levels(16),
}
"""What a mask does -> the mask."""
