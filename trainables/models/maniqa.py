"""MANIQA: ViT features, attention across channels, windows of attention across space, patches weighted by a branch.

S. Yang et al., "MANIQA: Multi-dimension Attention Network for No-Reference Image Quality Assessment", CVPRW 2022.
Parameter names and arithmetic follow the authors' release.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.models.imagenet import load_timm
from trainables.models.mobilenet import CHANNELS, mobile_trunk
from trainables.models.scorer import InputSpec, Scorer, Size
from trainables.models.swin import ScaleSwin
from trainables.precision import in_float32

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

VIT = "vit_base_patch8_224"
VIT_WEIGHTS = f"{VIT}.augreg_in21k_ft_in1k"
"""The weights that this name stood for in the timm that the authors bundle."""


SWIN_SCALE = 0.8
"""What the Swin layers' outputs are multiplied by; the authors' `scale`, which they chose anew for each data set."""


@dataclass(frozen=True, kw_only=True)
class ManiqaWidths:
    """Sizes of what follows the backbone."""

    channels: int
    """Of each patch's features, of all that is read side by side."""
    grid: int
    """Patches along one side of the image."""
    dim: int
    """Channels of the first stage; the second has half of them."""
    hidden: int
    """Hidden units of the Swin blocks' perceptrons."""
    num_transposed: int
    """Transposed attention blocks in each stage."""
    depths: tuple[int, ...]
    """Blocks of each Swin layer."""
    window: int = 4
    """Side of the Swin blocks' windows, in patches; a divisor of the grid."""


PAPER = ManiqaWidths(channels=4 * 768, grid=28, dim=768, hidden=768, num_transposed=2, depths=(2, 2))
PAPER_BLOCKS = (6, 7, 8, 9)
"""Of the ViT (from 0), whose outputs are read."""
MOBILE = ManiqaWidths(
    channels=CHANNELS[2] + CHANNELS[3], grid=14, dim=128, hidden=128, num_transposed=1, depths=(2,), window=7
)
SMALL = ManiqaWidths(channels=2 * 48, grid=8, dim=48, hidden=48, num_transposed=1, depths=(2,))
SMALL_BLOCKS = (1, 2)


class TransposedAttention(nn.Module):
    """Attention between channels, each described by its values over all positions; `(N, C, positions)` -> the same.

    The result is *reshaped*, not transposed, back to `(C, positions)`, which scrambles it. That is how the authors'
    weights were trained, so it stays.
    """

    def __init__(self, positions: int) -> None:
        super().__init__()
        self.c_q = nn.Linear(positions, positions)
        self.c_k = nn.Linear(positions, positions)
        self.c_v = nn.Linear(positions, positions)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.c_q(x), self.c_k(x), self.c_v(x)
        attention = (q @ k.transpose(1, 2) * x.shape[2] ** -0.5).softmax(dim=-1)
        return x + self.dropout((attention @ v).transpose(1, 2).reshape(x.shape))


class ManiqaNetwork(nn.Module):
    """Normalised images `(N, 3, H, W)` of exactly the backbone's size -> scores `(N,)`, at least 0."""

    BACKBONE: ClassVar[str]
    """What the backbone is called among the parameters."""

    def __init__(self, backbone: nn.Module, widths: ManiqaWidths) -> None:
        super().__init__()
        self.swin_scale = SWIN_SCALE
        grid, dim = widths.grid, widths.dim
        self.add_module(self.BACKBONE, backbone)
        self.tablock1 = self._transposed(widths)
        self.conv1 = nn.Conv2d(widths.channels, dim, 1)
        self.swintransformer1 = self._swin(dim, widths)
        self.tablock2 = self._transposed(widths)
        self.conv2 = nn.Conv2d(dim, dim // 2, 1)
        self.swintransformer2 = self._swin(dim // 2, widths)
        self.fc_score = _branch(dim // 2, nn.ReLU())
        self.fc_weight = _branch(dim // 2, nn.Sigmoid())
        self.grid = grid

    def forward(self, inputs: Tensor) -> Tensor:
        return self.judge(self.mixed(inputs))

    @in_float32
    def judge(self, patches: Tensor) -> Tensor:
        """Scores `(N,)` from the patches' features `(N, grid * grid, C)`."""
        scores, weights = self.fc_score(patches).squeeze(2), self.fc_weight(patches).squeeze(2)
        return (scores * weights).sum(dim=1) / weights.sum(dim=1)

    def mixed(self, inputs: Tensor) -> Tensor:
        """Every patch's features after both attention stages, `(N, grid * grid, C)`."""
        x = self.features(inputs).transpose(1, 2)
        x = self.swintransformer1(self.conv1(self.tablock1(x).unflatten(2, (self.grid, self.grid))))
        x = self.tablock2(x.flatten(2)).unflatten(2, (self.grid, self.grid))
        return self.swintransformer2(self.conv2(x)).flatten(2).transpose(1, 2)

    def features(self, inputs: Tensor) -> Tensor:
        """Every patch's features, row by row: `(N, grid * grid, widths.channels)`."""
        raise NotImplementedError

    @staticmethod
    def _transposed(widths: ManiqaWidths) -> nn.Sequential:
        return nn.Sequential(*(TransposedAttention(widths.grid**2) for _ in range(widths.num_transposed)))

    @staticmethod
    def _swin(dim: int, widths: ManiqaWidths) -> ScaleSwin:
        return ScaleSwin(
            dim,
            widths.grid,
            depths=widths.depths,
            window=widths.window,
            heads=4,
            hidden=widths.hidden,
            scale=SWIN_SCALE,
        )


class VitManiqa(ManiqaNetwork):
    """As published: patches are a ViT's, described by some of its `blocks` side by side."""

    BACKBONE = "vit"
    vit: VisionTransformer

    def __init__(self, vit: VisionTransformer, blocks: tuple[int, ...], widths: ManiqaWidths) -> None:
        super().__init__(vit, widths)
        self.vit_blocks = list(blocks)
        for block in vit.blocks:
            block.attn.fused_attn = False  # the fused kernels have no second derivative, which Eq. 5 needs

    def features(self, inputs: Tensor) -> Tensor:
        blocks = self.vit.forward_intermediates(
            inputs, indices=self.vit_blocks, output_fmt="NLC", intermediates_only=True, stop_early=True
        )
        return torch.cat(blocks, dim=2)


class MobileManiqa(ManiqaNetwork):
    """Patches are the cells of a convolutional trunk's last stage but one, beside which the last stage is laid."""

    BACKBONE = "trunk"
    trunk: nn.Sequential

    def features(self, inputs: Tensor) -> Tensor:
        third = self.trunk[:-1](inputs)
        fourth = F.interpolate(self.trunk[-1](third), size=third.shape[2:], mode="nearest")
        return torch.cat((third, fourth), dim=1).flatten(2).transpose(1, 2)


def _branch(dim: int, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(0.1), nn.Linear(dim, 1), activation)


def build(size: Size, pretrained: bool) -> Scorer:
    if size == "mobile":
        network: ManiqaNetwork = MobileManiqa(mobile_trunk(pretrained=pretrained), MOBILE)
        _revive(network)
        spec = InputSpec(height=224, width=224, mode="resize")
        return Scorer(network, input_spec=spec, backbone=("trunk",), scale=100.0)

    import timm  # here, because it is slow to import and no other model needs it
    from timm.models.vision_transformer import VisionTransformer

    if size == "paper":
        vit = timm.create_model(VIT, pretrained=False)
        if pretrained:
            load_timm(vit, VIT_WEIGHTS)
        network = VitManiqa(vit, PAPER_BLOCKS, PAPER)
        spec = InputSpec(height=224, width=224, mode="crop", crops=20)
    else:
        vit = VisionTransformer(
            img_size=64, patch_size=8, embed_dim=48, depth=3, num_heads=4, mlp_ratio=2, num_classes=0, final_norm=False
        )
        network = VitManiqa(vit, SMALL_BLOCKS, SMALL)
        _revive(network)
        spec = InputSpec(height=64, width=64, mode="crop")
    half = (0.5, 0.5, 0.5)
    return Scorer(network, input_spec=spec, backbone=("vit",), mean=half, std=half, scale=100.0)


def _revive(network: ManiqaNetwork) -> None:
    """From scratch the score's last ReLU starts dead for many seeds; at half the scale it does not."""
    nn.init.constant_(network.fc_score.get_parameter("3.bias"), 0.5)
