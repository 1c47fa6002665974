"""The one shape that all attacks have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from zlib import crc32

import torch
from torch import Tensor, nn

from trainables.attacks.constraint import check_images, constrain
from trainables.gradients import Score, final_scores, input_gradient
from trainables.seeding import torch_generator


@dataclass(frozen=True, kw_only=True)
class CleanPass:
    """What one forward and backward pass says about clean images; made once and shared by all white-box attacks."""

    score: Tensor
    """(N,) scores of the clean images."""
    gradient: Tensor
    """(N, 3, H, W): d score / d pixel."""


class Attack(ABC):
    """`attack(score, images) -> adversarial`, batched; an image's result never depends on its batch.

    Implementations are frozen dataclasses of their parameters and write `perturb`; calling an attack checks its input,
    keeps a model passed as `score` in evaluation mode and unchanged, and projects and checks what comes back.
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
        """The attacks, one for each direction, of which an image keeps the one that moves its score further."""
        return (self,)

    def __call__(
        self, score: Score, images: Tensor, *, clean: CleanPass | None = None, mos: Tensor | None = None
    ) -> Tensor:
        """Adversarial images, (N, 3, H, W) in [0, 1], detached.

        score: (N, 3, H, W) in [0, 1] -> (N,) on 0..100. images: float (N, 3, H, W) in [0, 1].
        clean: `clean_pass(score, images)` where the caller has it already. mos: (N,), for losses that refer to it.
        """
        check_images(images)
        images = images.detach()
        with undisturbed(score), torch.no_grad():
            found = [constrain(side.perturb(score, images, clean, mos), images, side.budget) for side in self.sides]
            return found[0] if len(found) == 1 else _furthest(score, images, found, clean)

    @abstractmethod
    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        """The attack itself, on checked input."""


def _furthest(score: Score, images: Tensor, candidates: list[Tensor], clean: CleanPass | None) -> Tensor:
    """Per image, the candidate whose score lies furthest from the clean one; the first of equals."""
    clean_score = clean.score if clean else final_scores(score(images))
    best, best_change = images, torch.full_like(clean_score, -torch.inf)
    for candidate in candidates:
        change = (final_scores(score(candidate)) - clean_score).abs()
        best, best_change = keep_better(best, best_change, candidate, change)
    return best


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
