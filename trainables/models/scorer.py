"""The contract of every quality model: pixels in, scores on the MOS scale out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from trainables.config import Size as Size

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What one view of an image is, and which other sizes the network can take."""

    height: int
    """Pixels of one view."""
    width: int
    mode: Literal["crop", "resize"]
    """`crop`: views lie on a grid over the image, at its own resolution; `resize`: the view is the whole image."""
    crops: int = 1
    """Views per image; its score is their mean."""
    names_seed: int | None = None
    """None: the grid. Otherwise crops lie where this seed and the image's name put them, as in records that began
    before the grid (`trainables/config.py`, `views`)."""
    smallest: int | None = None
    """Shortest side the network can take, in pixels; None when it takes `height` x `width` only."""

    def accepts(self, height: int, width: int) -> bool:
        if self.smallest is None:
            return (height, width) == (self.height, self.width)
        return min(height, width) >= self.smallest

    def describe(self) -> str:
        if self.smallest is None:
            return f"{self.height}x{self.width} pixels"
        return f"at least {self.smallest} pixels on each side"


class Scorer(nn.Module):
    """A bare `network` with the two maps around it: pixels to its normalised input, its output to MOS.

    `network` takes normalised images `(N, 3, H, W)` and returns native scores `(N,)`, or `(K, N)` when it has auxiliary
    heads, the score being the last row. `backbone` names its parts that start from pretrained weights.

    The normalised input `z = (x - mean) / std` is the space in which the NT regulariser takes its step `h`
    (`step_size`), as in the authors' code: 0.01 there is about 0.01 * 0.226 in [0, 1] pixel units for ImageNet
    statistics.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor
    offset: Tensor
    autocast_to: torch.dtype | None = None
    """What the network's body is computed in under autocast; None: without. `precision.computing_in` sets it."""

    def __init__(
        self,
        network: nn.Module,
        *,
        input_spec: InputSpec,
        backbone: tuple[str, ...],
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        scale: float = 1.0,
        offset: float = 0.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.input_spec = input_spec
        self._backbone = tuple(f"{part}." for part in backbone)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("offset", torch.tensor(offset))

    def forward(self, images: Tensor) -> Tensor:
        """Scores `(N,)` on the 0..100 MOS scale, higher is better, of RGB `images` `(N, 3, H, W)` in [0, 1].

        The scale is where scores lie, not a bound: an attacked image may leave it. Raises ValueError for input that is
        not a finite, non-empty float batch of a size the network can take.
        """
        self._check(images)
        return self.score_normalised(self.normalise(images))

    def normalise(self, images: Tensor) -> Tensor:
        """Pixels in [0, 1] -> the network's input, in the network's precision."""
        return ((images - self.mean) / self.std).to(self.mean.dtype)

    def outputs(self, inputs: Tensor) -> Tensor:
        """Native outputs in training form, `(N,)` or `(K, N)`, of normalised `inputs`; unchecked."""
        if self.autocast_to is None:
            return self.network(inputs)
        # Around the network alone: under autocast the head's backward pass and an attack's SSIM would lose bits too.
        with torch.autocast(inputs.device.type, dtype=self.autocast_to):
            return self.network(inputs).float()

    def score_normalised(self, inputs: Tensor) -> Tensor:
        """MOS-scale scores `(N,)` of normalised `inputs`; unchecked, so that it can be traced and exported."""
        outputs = self.outputs(inputs)
        return self.to_mos(outputs if outputs.ndim == 1 else outputs[-1])

    def to_mos(self, native: Tensor) -> Tensor:
        """Native scores -> MOS scale: `scale * native + offset`."""
        return self.scale * native + self.offset

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The parameters in the two groups that recipes give learning rates to: `backbone` and `head`."""
        groups: dict[str, list[nn.Parameter]] = {"backbone": [], "head": []}
        for name, parameter in self.network.named_parameters():
            groups["backbone" if name.startswith(self._backbone) else "head"].append(parameter)
        return groups

    def _check(self, images: Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"expected RGB images of shape (N, 3, H, W), got shape {tuple(images.shape)}")
        if not images.is_floating_point():
            raise ValueError(f"expected float pixels in [0, 1], got {images.dtype}; divide 8-bit images by 255")
        if images.shape[0] == 0:
            raise ValueError("expected at least one image, got an empty batch")
        height, width = images.shape[2:]
        if not self.input_spec.accepts(height, width):
            raise ValueError(
                f"expected images of {self.input_spec.describe()}, got {height}x{width}; crop or resize them first"
            )
        if not torch.isfinite(images).all():
            raise ValueError("expected finite pixels in [0, 1], got NaN or infinity")
