"""The one shape that all attacks have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.attacks.constraint import check_images, constrain
from trainables.gradients import Score, final_scores, input_gradient
from trainables.seeding import torch_generator

Numbers = NDArray[np.float64]
Positions = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class CleanPass:
    """What one forward and backward pass says about clean images; made once and shared by all white-box attacks."""

    score: Tensor
    """(N,) scores of the clean images."""
    gradient: Tensor
    """(N, 3, H, W): d score / d pixel."""


class Attack(ABC):
    """`attack(score, images) -> adversarial`, batched.

    Implementations are frozen dataclasses of their parameters and write `perturb`; calling an attack checks its input,
    keeps a model passed as `score` in evaluation mode and unchanged, and projects and checks what comes back.

    Two stages, so that a whole test set can be attacked that never lies in memory at once. `candidates` sees a batch:
    what each of its images may become; this never depends on the batch. `choose` sees the scores of a whole set: which
    candidate each image is. By default that is a matter of each image alone as well; an attack on a set's ranking
    (`rank.py`) has a choice of its own. `evaluate` calls the two; calling the attack takes the batch for the set.
    """

    @property
    def budget(self) -> float | None:
        """Largest change of a pixel, in [0, 1] units; None where the attack sets no such limit."""
        return None

    @property
    def control(self) -> Attack | None:
        """What the attack does without the score, where that alone can pass for its effect; recorded beside it."""
        return None

    @property
    def sides(self) -> tuple[Attack, ...]:
        """The attacks, one for each direction, that `candidates` are made with."""
        return (self,)

    def __call__(
        self, score: Score, images: Tensor, *, clean: CleanPass | None = None, mos: Tensor | None = None
    ) -> Tensor:
        """Adversarial images, (N, 3, H, W) in [0, 1], detached.

        score: (N, 3, H, W) in [0, 1] -> (N,) on 0..100. images: float (N, 3, H, W) in [0, 1].
        clean: `clean_pass(score, images)` where the caller has it already. mos: (N,), for losses that refer to it.
        """
        candidates = list(self.candidates(score, images, clean=clean, mos=mos))
        if len(candidates) == 1:
            return candidates[0]
        with undisturbed(score), torch.no_grad():
            clean_score = clean.score if clean else final_scores(score(images.detach()))
            found = torch.stack([final_scores(score(candidate)) for candidate in candidates])
        chosen = self.choose(_numbers(clean_score), _numbers(found), None if mos is None else _numbers(mos))
        return torch.stack(candidates)[torch.from_numpy(chosen), torch.arange(len(images))]

    def candidates(
        self, score: Score, images: Tensor, *, clean: CleanPass | None = None, mos: Tensor | None = None
    ) -> Iterator[Tensor]:
        """What each image of a batch may become, (N, 3, H, W) at a time; arguments and results as of a call."""
        check_images(images)
        images = images.detach()
        with undisturbed(score), torch.no_grad():
            ends = [side.perturb(score, images, clean, mos) for side in self.sides]
        return (constrain(candidate, images, self.budget) for candidate in self.between(images, ends))

    def between(self, images: Tensor, ends: list[Tensor]) -> Iterable[Tensor]:
        """The candidates, from clean images and the results of `sides`: by default the latter alone."""
        return ends

    def choose(self, clean_score: Numbers, found: Numbers, mos: Numbers | None) -> Positions:
        """(N,) which candidate each image of a set is: by default the one that moves its score furthest.

        clean_score: (N,). found: (K, N), the scores of the K candidates. mos: (N,), where known.
        """
        return np.abs(found - clean_score).argmax(0)

    @abstractmethod
    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        """The attack itself, on checked input."""


def _numbers(scores: Tensor) -> Numbers:
    return scores.detach().double().cpu().numpy()


def clean_pass(score: Score, images: Tensor) -> CleanPass:
    """Score clean images and take their gradients in the same pass."""
    scores, gradient = input_gradient(score, images)
    return CleanPass(score=scores, gradient=gradient)


@contextmanager
def undisturbed(score: Score) -> Iterator[None]:
    """Keep a model in evaluation mode and its parameters out of the graph; afterwards all is as it was.

    Evaluation mode keeps BatchNorm statistics still and images independent of their batch; a plain function is left
    to its caller.
    """
    if not isinstance(score, nn.Module):
        yield
        return
    training = [module for module in score.modules() if module.training]
    learning = [parameter for parameter in score.parameters() if parameter.requires_grad]
    score.eval()
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for module in training:
            module.training = True
        for parameter in learning:
            parameter.requires_grad_(True)


def require_eps(eps: float) -> None:
    """Raise ValueError unless `eps` is a budget in (0, 1]."""
    if not 0 < eps <= 1:
        raise ValueError(f"eps is a pixel change in (0, 1] (8 grey levels are 8/255), got {eps}")


def keep_better(best: Tensor, best_value: Tensor, images: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Per image, whichever of the two has the higher value."""
    is_better = value > best_value
    return torch.where(is_better.view(-1, 1, 1, 1), images, best), torch.where(is_better, value, best_value)


def image_generator(seed: int, image: Tensor) -> torch.Generator:
    """A CPU generator for one image's random numbers, equal wherever the image stands in a batch.

    Derived from the seed and the pixels, so that a batch of N gives the same as N batches of one.
    """
    return torch_generator(seed, "attack", crc32(image.contiguous().cpu().numpy().tobytes()))
