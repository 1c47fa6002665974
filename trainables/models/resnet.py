"""Residual trunks at any width, from torchvision's blocks and under its parameter names."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck


def resnet_trunk(block: type[BasicBlock | Bottleneck], depths: tuple[int, int, int, int], width: int) -> nn.Sequential:
    """A ResNet without its pooling and classifier: children conv1, bn1, relu, maxpool, layer1 .. layer4.

    `width` is the stem's number of channels (64 in torchvision's networks), doubled at each later stage. Weights follow
    torchvision: He normal for convolutions, BatchNorm at identity.
    """
    stages: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)),
        ("bn1", nn.BatchNorm2d(width)),
        ("relu", nn.ReLU(inplace=True)),
        ("maxpool", nn.MaxPool2d(kernel_size=3, stride=2, padding=1)),
    ]
    channels = width
    for index, depth in enumerate(depths):
        planes = width * 2**index
        stages.append((f"layer{index + 1}", _stage(block, channels, planes, depth, stride=1 if index == 0 else 2)))
        channels = planes * block.expansion
    trunk = nn.Sequential(OrderedDict(stages))
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return trunk


def stage_channels(block: type[BasicBlock | Bottleneck], width: int) -> tuple[int, int, int, int]:
    """Channels that come out of each stage of such a trunk."""
    one, two, three, four = (width * 2**index * block.expansion for index in range(4))
    return one, two, three, four


def _stage(
    block: type[BasicBlock | Bottleneck], channels: int, planes: int, depth: int, *, stride: int
) -> nn.Sequential:
    width = planes * block.expansion
    shortcut = None
    if stride != 1 or channels != width:
        shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    first = block(channels, planes, stride, shortcut)
    return nn.Sequential(first, *(block(width, planes) for _ in range(depth - 1)))
