"""Which way an attack pushes a score: the published way, up, down, or both with the further one kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

import torch
from torch import Tensor

from trainables.attacks.base import Attack

Direction = Literal["mid", "up", "down", "two_sided"]


@dataclass(frozen=True, kw_only=True)
class Directed(Attack):
    """An attack that can be told which way to push; `perturb` asks `sign`, and never meets `two_sided`."""

    direction: Direction = "mid"
    """`mid`: as published (L_mid, S13), away from the nearer end of 0..100, which is not always the way that a score
    moves further; `up`; `down`; `two_sided`: both, at twice the cost, and each image keeps the further one."""

    def __post_init__(self) -> None:
        if self.direction not in get_args(Direction):
            raise ValueError(f"unknown direction {self.direction!r}; choose one of {', '.join(get_args(Direction))}")

    @property
    def sides(self) -> tuple[Self, ...]:
        if self.direction != "two_sided":
            return (self,)
        return replace(self, direction="up"), replace(self, direction="down")

    def sign(self, reference: Tensor) -> Tensor:
        """(N,) of +1 and -1 for the reference scores (N,): an attack ascends sign * score."""
        if self.direction == "mid":
            return sign_mid(reference)
        return torch.full_like(reference, 1.0 if self.direction == "up" else -1.0)


def sign_mid(reference: Tensor) -> Tensor:
    """L_mid's direction (S13): away from the nearer end of 0..100; a reference of exactly 50 is raised."""
    return 1.0 - 2.0 * (reference > 50).to(reference.dtype)
