"""The backbone of every `mobile` model: torchvision's MobileNetV2 without its last convolution and its classifier.

M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from trainables.models.imagenet import load_torchvision

CHANNELS = (24, 32, 96, 320)
"""Channels that come out of each stage."""
STAGES = {
    "stem": slice(0, 2),
    "layer1": slice(2, 4),
    "layer2": slice(4, 7),
    "layer3": slice(7, 14),
    "layer4": slice(14, 18),
}
"""Which of torchvision's blocks make a stage."""


def mobile_trunk(*, pretrained: bool) -> nn.Sequential:
    """Children stem, layer1 .. layer4, whose maps are 2, 4, 8, 16 and 32 times smaller than the image, as a ResNet's;
    blocks keep torchvision's numbers.

    `pretrained`: with ImageNet weights; ValueError where they can be neither found nor downloaded.
    """
    blocks = mobilenet_v2().features
    trunk = nn.Sequential(OrderedDict((name, blocks[part]) for name, part in STAGES.items()))
    if pretrained:
        load_imagenet(trunk)
    return trunk


def load_imagenet(trunk: nn.Sequential) -> None:
    """Put ImageNet weights into a trunk; ValueError where they can be neither found nor downloaded."""
    blocks = nn.Sequential(*(block for stage in trunk.children() for block in stage.children()))
    left_out = (f"features.{len(blocks)}.", "classifier.")
    load_torchvision(blocks, MobileNet_V2_Weights.IMAGENET1K_V1, prefix="features.", skip=left_out)
