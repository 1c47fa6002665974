"""HyperIQA: a hyper network reads an image's content and writes the weights of the network that judges it.

S. Su et al., "Blindly Assess Image Quality in the Wild Guided by a Self-Adaptive Hyper Network", CVPR 2020. Parameter
names and arithmetic follow the authors' release.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights
from torchvision.models.resnet import BasicBlock, Bottleneck

from trainables.models.imagenet import load_torchvision
from trainables.models.mobilenet import CHANNELS, mobile_trunk
from trainables.models.resnet import resnet_trunk, stage_channels
from trainables.models.scorer import InputSpec, Scorer, Size
from trainables.precision import in_float32

STAGES = (1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class HyperWidths:
    """Sizes of the hyper network and of the target network that it writes."""

    distortion_channels: tuple[int, int, int]
    """Channels to which the features of stages 1 to 3 are reduced before they are pooled."""
    distortion_features: int
    """Numbers that each of stages 1 to 3 gives to the target network's input."""
    target: tuple[int, int, int, int, int]
    """The target network's input size and the widths of its four hidden layers."""
    bottleneck: tuple[int, int, int]
    """Channels of the three 1x1 convolutions from the last stage to the hyper network's input."""
    grid: int
    """Side of the last stage's feature map, in cells; it ties the network to one input size, 32 * grid."""


PAPER = HyperWidths(
    distortion_channels=(16, 32, 64),
    distortion_features=16,
    target=(224, 112, 56, 28, 14),
    bottleneck=(1024, 512, 112),
    grid=7,
)
MOBILE = HyperWidths(
    distortion_channels=(16, 32, 64),
    distortion_features=16,
    target=(224, 112, 56, 28, 14),
    bottleneck=(256, 128, 112),
    grid=7,
)
SMALL = HyperWidths(
    distortion_channels=(4, 8, 16),
    distortion_features=4,
    target=(24, 16, 8, 8, 4),
    bottleneck=(32, 16, 8),
    grid=2,
)


class DistortionResNet(nn.Module):
    """A trunk whose every stage also reports local distortions (the paper's LDA module).

    `trunk`: children `layer1` .. `layer4`, and before them whatever brings the image to a quarter of its size or so.
    """

    def __init__(self, trunk: nn.Sequential, channels: tuple[int, int, int, int], widths: HyperWidths) -> None:
        super().__init__()
        self.before_stages = [name for name, _ in trunk.named_children() if not name.startswith("layer")]
        for name, module in trunk.named_children():
            self.add_module(name, module)
        features, grid = widths.distortion_features, widths.grid
        for index, reduced in enumerate(widths.distortion_channels):
            reduce = nn.Conv2d(channels[index], reduced, 1, bias=False)
            nn.init.kaiming_normal_(reduce.weight)
            self.add_module(f"lda{index + 1}_pool", nn.Sequential(reduce, nn.AvgPool2d(grid, stride=grid)))
            cells = 8 // 2**index
            self.add_module(f"lda{index + 1}_fc", nn.Linear(reduced * cells**2, features))
        self.lda4_pool = nn.AvgPool2d(grid, stride=grid)
        self.lda4_fc = nn.Linear(channels[3], widths.target[0] - 3 * features)
        for stage in STAGES:
            nn.init.kaiming_normal_(self.get_parameter(f"lda{stage}_fc.weight"))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the last stage `(N, C, grid, grid)`, and the target network's input `(N, target[0])`."""
        x = inputs
        for name in self.before_stages:
            x = self.get_submodule(name)(x)
        reports = []
        for stage in STAGES:
            x = self.get_submodule(f"layer{stage}")(x)
            pooled = self.get_submodule(f"lda{stage}_pool")(x).flatten(1)
            reports.append(self.get_submodule(f"lda{stage}_fc")(pooled))
        return x, torch.cat(reports, dim=1)


class HyperNetwork(nn.Module):
    """Normalised images `(N, 3, 32 * grid, 32 * grid)` -> scores `(N,)`."""

    def __init__(self, trunk: nn.Sequential, channels: tuple[int, int, int, int], widths: HyperWidths) -> None:
        super().__init__()
        self.target_layers = list(pairwise(widths.target))
        self.res = DistortionResNet(trunk, channels, widths)
        layers: list[nn.Module] = []
        for before, after in pairwise((channels[3], *widths.bottleneck)):
            layers += [nn.Conv2d(before, after, 1), nn.ReLU(inplace=True)]
        self.conv1 = nn.Sequential(*layers)
        content = widths.bottleneck[-1]
        for index, (before, after) in enumerate(self.target_layers, start=1):
            cells = before * after // widths.grid**2
            self.add_module(f"fc{index}w_conv", nn.Conv2d(content, cells, 3, padding=1))
            self.add_module(f"fc{index}b_fc", nn.Linear(content, after))
        self.fc5w_fc = nn.Linear(content, widths.target[-1])
        self.fc5b_fc = nn.Linear(content, 1)
        for name, module in self.named_children():
            if name.startswith("fc"):
                nn.init.kaiming_normal_(module.get_parameter("weight"))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.judge(*self.res(inputs))

    @in_float32
    def judge(self, features: Tensor, x: Tensor) -> Tensor:
        """Scores `(N,)` from what the trunk says: the features that write the target network, and its input."""
        content = self.conv1(features)
        pooled = content.mean(dim=(2, 3))
        for index, (before, after) in enumerate(self.target_layers, start=1):
            weight = self.get_submodule(f"fc{index}w_conv")(content).reshape(-1, after, before)
            bias = self.get_submodule(f"fc{index}b_fc")(pooled)
            x = torch.sigmoid(_apply(weight, x) + bias)
        return (_apply(self.fc5w_fc(pooled).unsqueeze(1), x) + self.fc5b_fc(pooled)).squeeze(1)


def _apply(weight: Tensor, x: Tensor) -> Tensor:
    """Each image's own matrix on its own vector: `(N, out, in)`, `(N, in)` -> `(N, out)`."""
    return torch.bmm(weight, x.unsqueeze(2)).squeeze(2)


def build(size: Size, pretrained: bool) -> Scorer:
    if size == "paper":
        trunk = resnet_trunk(Bottleneck, (3, 4, 6, 3), 64)
        if pretrained:
            load_torchvision(trunk, ResNet50_Weights.IMAGENET1K_V1, skip="fc.")
        network = HyperNetwork(trunk, stage_channels(Bottleneck, 64), PAPER)
        spec = InputSpec(height=224, width=224, mode="crop", crops=25)
        return Scorer(network, input_spec=spec, backbone=("res",))
    if size == "mobile":
        network = HyperNetwork(mobile_trunk(pretrained=pretrained), CHANNELS, MOBILE)
        spec = InputSpec(height=224, width=224, mode="resize")
        return Scorer(network, input_spec=spec, backbone=("res",), scale=25.0, offset=50.0)
    trunk = resnet_trunk(BasicBlock, (1, 1, 1, 1), 16)
    network = HyperNetwork(trunk, stage_channels(BasicBlock, 16), SMALL)
    spec = InputSpec(height=64, width=64, mode="crop")
    return Scorer(network, input_spec=spec, backbone=("res",), scale=25.0, offset=50.0)
