"""PaQ-2-PiQ's RoIPool model: the surrogate that the universal perturbations were made on.

Z. Ying et al., "From Patches to Pictures (PaQ-2-PiQ)", CVPR 2020. Parameter names and arithmetic follow the authors'
release. It takes plain [0, 1] pixels, without ImageNet normalisation.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import ResNet18_Weights
from torchvision.models.resnet import BasicBlock
from torchvision.ops import roi_pool

from trainables.models.imagenet import load_torchvision
from trainables.models.mobilenet import CHANNELS, mobile_trunk
from trainables.models.resnet import resnet_trunk, stage_channels
from trainables.models.scorer import InputSpec, Scorer, Size

TRUNK_STRIDE = 32
RAW_MEAN = 72.59696108881171
RAW_STD_BELOW = 7.798274017370107
RAW_STD_ABOVE = 4.118047289170692
"""Statistics of the released model's raw scores (below and above their mean), from its inference code."""


class ConcatPool(nn.Module):
    """Global maximum and average side by side, `(N, C, H, W)` -> `(N, 2 C, 1, 1)`."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat((F.adaptive_max_pool2d(features, 1), F.adaptive_avg_pool2d(features, 1)), dim=1)


class RegionNetwork(nn.Module):
    """Images `(N, 3, H, W)` in [0, 1] -> one score each `(N,)`, or one for each of R boxes, `(N, R)`.

    `boxes` `(R, 4)` are x1, y1, x2, y2 in pixels, the same for every image. The published inference gives the image's
    score as that of a box around the whole image (`block_boxes`), which differs from the score without boxes.
    """

    def __init__(self, trunk: nn.Sequential, channels: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*trunk.children())
        self.head = nn.Sequential(
            ConcatPool(),
            nn.Flatten(),
            nn.BatchNorm1d(2 * channels),
            nn.Dropout(0.25),
            nn.Linear(2 * channels, hidden),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(hidden),
            nn.Dropout(0.5),
            nn.Linear(hidden, 1),
        )

    def forward(self, images: Tensor, boxes: Tensor | None = None) -> Tensor:
        features = self.body(images)
        if boxes is None:
            return self.head(features).squeeze(1)
        pooled = roi_pool(features, [boxes.to(features)] * len(images), (2, 2), 1 / TRUNK_STRIDE)
        return self.head(pooled).view(len(images), -1)


def block_boxes(height: int, width: int, blocks: tuple[int, int] = (20, 20)) -> Tensor:
    """Boxes `(1 + rows * columns, 4)` of the published inference: the whole image, then its blocks row by row."""
    rows, columns = blocks
    y = torch.linspace(0, height, rows + 1, dtype=torch.float64)
    x = torch.linspace(0, width, columns + 1, dtype=torch.float64)
    whole = torch.tensor([[0, 0, width, height]], dtype=torch.float64)
    rows_of_boxes = [
        torch.stack((x[:-1], top.expand(columns), x[1:], bottom.expand(columns)), dim=1) for top, bottom in pairwise(y)
    ]
    return torch.cat((whole, *rows_of_boxes)).float()


def rescale(raw: Tensor) -> Tensor:
    """The released inference code's map of raw scores to 0..100: four standard deviations reach from the mean to 0 on
    one side and to 100 on the other."""
    below = RAW_MEAN + (raw - RAW_MEAN) * RAW_MEAN / (4 * RAW_STD_BELOW)
    above = RAW_MEAN + (raw - RAW_MEAN) * (100 - RAW_MEAN) / (4 * RAW_STD_ABOVE)
    return torch.where(raw < RAW_MEAN, below, above).clamp(0, 100)


def build(size: Size, pretrained: bool) -> Scorer:
    zeros, ones = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if size == "paper":
        trunk = resnet_trunk(BasicBlock, (2, 2, 2, 2), 64)
        if pretrained:
            load_torchvision(trunk, ResNet18_Weights.IMAGENET1K_V1, skip="fc.")
        network = RegionNetwork(trunk, stage_channels(BasicBlock, 64)[3], 512)
        spec = InputSpec(height=500, width=500, mode="resize", smallest=32)
        return Scorer(network, input_spec=spec, backbone=("body",), mean=zeros, std=ones)
    if size == "mobile":
        network = RegionNetwork(mobile_trunk(pretrained=pretrained), CHANNELS[-1], 256)
        spec = InputSpec(height=224, width=224, mode="resize", smallest=32)
        return Scorer(network, input_spec=spec, backbone=("body",), mean=zeros, std=ones, scale=25.0, offset=50.0)
    trunk = resnet_trunk(BasicBlock, (1, 1, 1, 1), 16)
    network = RegionNetwork(trunk, stage_channels(BasicBlock, 16)[3], 64)
    spec = InputSpec(height=64, width=64, mode="crop", smallest=32)
    return Scorer(network, input_spec=spec, backbone=("body",), mean=zeros, std=ones, scale=25.0, offset=50.0)
