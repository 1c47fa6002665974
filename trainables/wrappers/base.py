"""Defences that wrap a trained scorer: the image is changed, or scored several times, before a score is given."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod

from torch import Tensor

from trainables.gradients import Score
from trainables.models.scorer import Scorer


class Wrapper(ABC):
    """A frozen dataclass of its parameters. What it does to an image never depends on its batch.

    Gradients flow through it to the pixels, for attacks that know the defence (Athalye et al., "Obfuscated Gradients
    Give a False Sense of Security", ICML 2018): exactly where it has a gradient, straight through where it has none,
    and as the mean over its random draws where it is random.
    """

    @abstractmethod
    def score(self, scorer: Score, images: Tensor) -> Tensor:
        """(N,) scores of images (N, 3, H, W) in [0, 1]; `scorer` takes any number of images of this size."""


class Transform(Wrapper):
    """A change of the image before it is scored once."""

    @abstractmethod
    def transform(self, images: Tensor) -> Tensor:
        """Images as they are scored, of the same shape, in [0, 1]."""

    def score(self, scorer: Score, images: Tensor) -> Tensor:
        return scorer(self.transform(images))


class DefendedScorer(Scorer):
    """A scorer behind a wrapper, to be evaluated and attacked like any other."""

    def __init__(self, inner: Scorer, wrapper: Wrapper) -> None:
        super().__init__(inner.network, input_spec=inner.input_spec, backbone=())
        self.wrapper = wrapper
        for name in ("mean", "std", "scale", "offset"):
            setattr(self, name, getattr(inner, name))
        self.train(inner.training)

    def forward(self, images: Tensor) -> Tensor:
        self._check(images)
        return self.wrapper.score(super().forward, images)

    def with_other_draws(self) -> DefendedScorer:
        """The same defence with random numbers that an attacker draws itself: those of the defender are unknown."""
        if not hasattr(self.wrapper, "seed"):
            return self
        other = dataclasses.replace(self.wrapper, seed=self.wrapper.seed + 1)  # type: ignore[type-var]
        return DefendedScorer(self, other)


def straight_through(images: Tensor, changed: Tensor) -> Tensor:
    """`changed`, whose gradient is handed to `images` as it is (BPDA, Athalye et al. 2018)."""
    return images + (changed - images).detach()
