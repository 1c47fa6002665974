"""LinearityIQA: a trunk read at two levels, each with a head of its own, trained by the norm-in-norm loss.

D. Li et al., "Norm-in-Norm Loss with Faster Convergence and Better Performance for Image Quality Assessment", ACM MM
2020. Parameter names and arithmetic follow the authors' release (average pooling, no final BatchNorm).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import ResNet34_Weights
from torchvision.models.resnet import BasicBlock

from trainables.models.imagenet import load_torchvision
from trainables.models.mobilenet import CHANNELS, mobile_trunk
from trainables.models.resnet import resnet_trunk, stage_channels
from trainables.models.scorer import InputSpec, Scorer, Size
from trainables.precision import in_float32


class TwoLevelNetwork(nn.Module):
    """Normalised images `(N, 3, H, W)` -> `(3, N)`: scores of the third stage, of the fourth, and the final one."""

    def __init__(self, trunk: nn.Sequential, channels: tuple[int, int, int, int], hidden: tuple[int, int, int]) -> None:
        super().__init__()
        self.features = nn.Sequential(*trunk.children())
        self.dr6 = _reduction(channels[2], hidden)
        self.dr7 = _reduction(channels[3], hidden)
        self.regr6 = nn.Linear(hidden[2], 1)
        self.regr7 = nn.Linear(hidden[2], 1)
        self.regression = nn.Linear(2 * hidden[2], 1)

    def forward(self, inputs: Tensor) -> Tensor:
        third = self.features[:-1](inputs)
        return self.judge(third, self.features[-1](third))

    @in_float32
    def judge(self, third: Tensor, fourth: Tensor) -> Tensor:
        """The three scores `(3, N)` from the feature maps of the last two stages."""
        third, fourth = self.dr6(third.mean(dim=(2, 3))), self.dr7(fourth.mean(dim=(2, 3)))
        final = self.regression(torch.cat((third, fourth), dim=1))
        return torch.stack((self.regr6(third), self.regr7(fourth), final)).squeeze(2)


def _reduction(channels: int, hidden: tuple[int, int, int]) -> nn.Sequential:
    """Three linear layers with BatchNorm and no activation between them, as published; one ReLU at the end."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(channels, width), nn.BatchNorm1d(width)]
        channels = width
    return nn.Sequential(*layers, nn.ReLU())


def build(size: Size, pretrained: bool) -> Scorer:
    if size == "paper":
        trunk = resnet_trunk(BasicBlock, (3, 4, 6, 3), 64)
        if pretrained:
            load_torchvision(trunk, ResNet34_Weights.IMAGENET1K_V1, skip="fc.")
        network = TwoLevelNetwork(trunk, stage_channels(BasicBlock, 64), (1024, 256, 64))
        spec = InputSpec(height=498, width=664, mode="resize", smallest=32)
        return Scorer(network, input_spec=spec, backbone=("features",))
    if size == "mobile":
        network = TwoLevelNetwork(mobile_trunk(pretrained=pretrained), CHANNELS, (256, 128, 64))
        spec = InputSpec(height=224, width=224, mode="resize", smallest=32)
        return Scorer(network, input_spec=spec, backbone=("features",), scale=25.0, offset=50.0)
    trunk = resnet_trunk(BasicBlock, (2, 2, 2, 2), 16)
    network = TwoLevelNetwork(trunk, stage_channels(BasicBlock, 16), (64, 32, 16))
    spec = InputSpec(height=64, width=64, mode="crop", smallest=32)
    return Scorer(network, input_spec=spec, backbone=("features",), scale=25.0, offset=50.0)
