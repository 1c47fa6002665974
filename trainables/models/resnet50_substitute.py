"""The substitute of the Kor. attack: a ResNet-50 regressor with a sigmoid output.

J. Korhonen and J. You, "Adversarial Attacks Against Blind Image Quality Assessment Models", QoEVMA 2022. Their network
is a MATLAB one; here it has torchvision's parameter names and ImageNet normalisation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights
from torchvision.models.resnet import BasicBlock, Bottleneck

from trainables.models.imagenet import load_torchvision
from trainables.models.mobilenet import CHANNELS, mobile_trunk
from trainables.models.resnet import resnet_trunk, stage_channels
from trainables.models.scorer import InputSpec, Scorer, Size


class SigmoidRegressor(nn.Module):
    """Normalised images `(N, 3, H, W)` -> scores `(N,)` in (0, 1)."""

    def __init__(self, trunk: nn.Sequential, channels: int) -> None:
        super().__init__()
        self.features = trunk
        self.dropout = nn.Dropout(0.25)
        self.fc = nn.Linear(channels, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        pooled = self.features(inputs).mean(dim=(2, 3))
        return torch.sigmoid(self.fc(self.dropout(pooled))).squeeze(1)


def build(size: Size, pretrained: bool) -> Scorer:
    if size == "paper":
        trunk = resnet_trunk(Bottleneck, (3, 4, 6, 3), 64)
        if pretrained:
            load_torchvision(trunk, ResNet50_Weights.IMAGENET1K_V1, skip="fc.")
        network = SigmoidRegressor(trunk, stage_channels(Bottleneck, 64)[3])
        spec = InputSpec(height=384, width=512, mode="resize", smallest=32)
    elif size == "mobile":
        network = SigmoidRegressor(mobile_trunk(pretrained=pretrained), CHANNELS[-1])
        spec = InputSpec(height=224, width=224, mode="resize", smallest=32)
    else:
        trunk = resnet_trunk(BasicBlock, (1, 1, 1, 1), 16)
        network = SigmoidRegressor(trunk, stage_channels(BasicBlock, 16)[3])
        spec = InputSpec(height=64, width=64, mode="crop", smallest=32)
    return Scorer(network, input_spec=spec, backbone=("features",), scale=100.0)
