"""Windowed self-attention (Liu et al., ICCV 2021) as MANIQA uses it: one resolution, a convolution per layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

MASKED = -100.0
"""Added to the attention between cells that the shift brought together from opposite edges."""


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, `(windows, cells, C)` -> the same, with a relative position bias."""

    relative_position_index: Tensor

    def __init__(self, dim: int, window: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", _relative_positions(window))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        windows, cells, dim = x.shape
        q, k, v = self.qkv(x).view(windows, cells, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        attention = (q * (dim // self.heads) ** -0.5) @ k.transpose(-2, -1)
        attention = attention + self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        if mask is not None:
            attention = (attention.view(-1, len(mask), self.heads, cells, cells) + mask.unsqueeze(1)).flatten(0, 1)
        mixed = attention.softmax(dim=-1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(windows, cells, dim))


class SwinBlock(nn.Module):
    """Window attention and a two-layer perceptron, both residual, on `(N, grid * grid, C)`."""

    attn_mask: Tensor | None

    def __init__(self, dim: int, grid: int, window: int, shift: int, heads: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.grid, self.window, self.shift = grid, window, shift
        self.register_buffer("attn_mask", _shift_mask(grid, window, shift) if shift else None)
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, window, heads)
        self.drop_path = StochasticDepth(drop_path, mode="row")
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Perceptron(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self._attend(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor) -> Tensor:
        cells = x.unflatten(1, (self.grid, self.grid)).roll((-self.shift, -self.shift), dims=(1, 2))
        mixed = self.attn(_to_windows(cells, self.window), self.attn_mask)
        return _from_windows(mixed, self.grid, self.window).roll((self.shift, self.shift), dims=(1, 2)).flatten(1, 2)


class Perceptron(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class SwinLayer(nn.Module):
    """Blocks with alternating shift, then a 3x3 convolution with ReLU, on `(N, grid * grid, C)`."""

    def __init__(self, dim: int, grid: int, window: int, heads: int, hidden: int, drop_paths: list[float]) -> None:
        super().__init__()
        self.grid = grid
        self.conv = nn.Conv2d(dim, dim, 3, padding=1)
        self.blocks = nn.ModuleList(
            SwinBlock(dim, grid, window, window // 2 if index % 2 else 0, heads, hidden, drop_path)
            for index, drop_path in enumerate(drop_paths)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        image = x.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return self.conv(image).relu().flatten(2).transpose(1, 2)


class ScaleSwin(nn.Module):
    """Swin layers whose output is scaled by `scale` before it is added to their input, on `(N, C, grid, grid)`."""

    def __init__(
        self, dim: int, grid: int, *, depths: tuple[int, ...], window: int, heads: int, hidden: int, scale: float
    ) -> None:
        super().__init__()
        self.grid, self.scale = grid, scale
        self.dropout = nn.Dropout(0.1)
        self.downsample = nn.Conv2d(dim, dim, 3, stride=2, padding=1)  # unused, but part of published checkpoints
        rates = torch.linspace(0, 0.1, sum(depths)).split(list(depths))
        self.layers = nn.ModuleList(SwinLayer(dim, grid, window, heads, hidden, part.tolist()) for part in rates)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(x).flatten(2).transpose(1, 2)
        for layer in self.layers:
            x = self.scale * layer(x) + x
        return x.transpose(1, 2).unflatten(2, (self.grid, self.grid))


def _to_windows(cells: Tensor, window: int) -> Tensor:
    """`(N, H, W, C)` -> `(N * windows, window * window, C)`."""
    n, height, width, channels = cells.shape
    blocks = cells.view(n, height // window, window, width // window, window, channels).transpose(2, 3)
    return blocks.reshape(-1, window * window, channels)


def _from_windows(windows: Tensor, grid: int, window: int) -> Tensor:
    """The inverse, to `(N, grid, grid, C)`."""
    side, channels = grid // window, windows.shape[-1]
    return windows.view(-1, side, side, window, window, channels).transpose(2, 3).reshape(-1, grid, grid, channels)


def _relative_positions(window: int) -> Tensor:
    """Row of the bias table for each pair of a window's cells, `(cells, cells)`."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    offsets = [position.flatten()[:, None] - position.flatten() + window - 1 for position in (y, x)]
    return offsets[0] * (2 * window - 1) + offsets[1]


def _shift_mask(grid: int, window: int, shift: int) -> Tensor:
    """`(windows, cells, cells)`: 0 between cells that were neighbours before the shift, `MASKED` between others."""
    band = torch.zeros(grid, dtype=torch.long)
    band[-window:-shift] = 1
    band[-shift:] = 2
    regions = (3 * band[:, None] + band).view(1, grid, grid, 1)
    ids = _to_windows(regions, window).squeeze(2)
    return MASKED * (ids[:, :, None] != ids[:, None, :]).float()
