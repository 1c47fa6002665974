"""DBCNN: one stream knows objects, one knows synthetic distortions; bilinear pooling joins them.

W. Zhang et al., "Blind Image Quality Assessment Using a Deep Bilinear Convolutional Neural Network", TCSVT 2020.
Parameter names and arithmetic follow the authors' PyTorch release.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VGG16_Weights
from torchvision.models.vgg import cfgs, make_layers

from trainables.models.imagenet import load_torchvision
from trainables.models.mobilenet import CHANNELS, load_imagenet, mobile_trunk
from trainables.models.scorer import InputSpec, Scorer, Size
from trainables.precision import in_float32

SCNN_LAYERS = ((48, 1), (48, 2), (64, 1), (64, 2), (64, 1), (64, 2), (128, 1), (128, 1), (128, 2))
"""Channels and stride of the S-CNN's 3x3 convolutions."""

MOBILE_SCNN_LAYERS = ((16, 2), (24, 1), (32, 2), (48, 1), (64, 2))

SMALL_VGG: list[str | int] = [8, "M", 16, "M", 32, "M", 64]
SMALL_SCNN_LAYERS = ((8, 2), (16, 2), (32, 2))


class BilinearNetwork(nn.Module):
    """Normalised images `(N, 3, H, W)` -> scores `(N,)`; any size that leaves both streams a feature map.

    Both streams end in values of at least 0, as their products' square root is taken.
    """

    def __init__(self, objects: nn.Sequential, distortions: nn.Sequential, channels: tuple[int, int]) -> None:
        super().__init__()
        self.features1 = objects
        self.features2 = distortions
        self.fc = nn.Linear(channels[0] * channels[1], 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.get_parameter("weight"))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.judge(self.features1(inputs), self.features2(inputs))

    @in_float32
    def judge(self, objects: Tensor, distortions: Tensor) -> Tensor:
        """Scores `(N,)` from the streams' feature maps: square root and L2 norm of their mean outer product."""
        size = objects.shape[2:]
        if distortions.shape[2:] != size:
            distortions = F.interpolate(distortions, size, mode="bilinear", align_corners=True)
        return self.fc(_bilinear(objects.flatten(2), distortions.flatten(2))).squeeze(1)


def _bilinear(a: Tensor, b: Tensor) -> Tensor:
    """`(N, A, P)`, `(N, B, P)` -> `(N, A * B)`, in single precision at least: in half precision the sums overflow and
    the 1e-8 that keeps the root's gradient finite is zero."""
    precise = torch.promote_types(a.dtype, torch.float32)
    with torch.autocast(a.device.type, enabled=False):
        products = torch.bmm(a.to(precise), b.to(precise).transpose(1, 2)) / a.shape[2]
        return F.normalize(torch.sqrt(products.flatten(1) + 1e-8)).to(a.dtype)


def _scnn(layers: tuple[tuple[int, int], ...]) -> nn.Sequential:
    modules: list[nn.Module] = []
    before = 3
    for channels, stride in layers:
        modules += [
            nn.Conv2d(before, channels, 3, stride=stride, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
        before = channels
    return nn.Sequential(*modules)


def build(size: Size, pretrained: bool) -> Scorer:
    if size == "paper":
        vgg = make_layers(cfgs["D"])[:-1]
        network = BilinearNetwork(vgg, _scnn(SCNN_LAYERS), (512, 128))
        if pretrained:
            load_torchvision(vgg, VGG16_Weights.IMAGENET1K_V1, prefix="features.", skip="classifier.")
        spec = InputSpec(height=500, width=500, mode="resize", smallest=16)
        return Scorer(network, input_spec=spec, backbone=("features1", "features2"))
    if size == "mobile":
        trunk = mobile_trunk(pretrained=False)
        objects = nn.Sequential(OrderedDict([*trunk.named_children(), ("relu", nn.ReLU())]))
        network = BilinearNetwork(objects, _scnn(MOBILE_SCNN_LAYERS), (CHANNELS[-1], 64))
        if pretrained:
            load_imagenet(trunk)
        spec = InputSpec(height=224, width=224, mode="resize", smallest=32)
        return Scorer(network, input_spec=spec, backbone=("features1",), scale=25.0, offset=50.0)
    # Nothing here is pretrained, and without BatchNorm the object stream then learns too slowly.
    network = BilinearNetwork(make_layers(SMALL_VGG, batch_norm=True), _scnn(SMALL_SCNN_LAYERS), (64, 32))
    spec = InputSpec(height=64, width=64, mode="crop", smallest=16)
    return Scorer(network, input_spec=spec, backbone=("features1", "features2"), scale=25.0, offset=50.0)
