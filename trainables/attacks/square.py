"""Square attack (Andriushchenko et al., ECCV 2020), Linf: random search that asks for scores and for no gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.attacks.base import CleanPass, image_generator, keep_better, require_eps
from trainables.attacks.constraint import project
from trainables.attacks.direction import Directed
from trainables.gradients import Score, final_scores
from trainables.written import Real, Whole

LARGEST_SHARE = 0.8
"""Share of the image that the first squares cover: the value of AutoAttack (Croce & Hein 2020), which suits budgets of
few queries better than the 0.05 of the paper's 10,000."""
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Steps of 10,000 at which that share is halved; they shrink with the number of queries."""


@dataclass(frozen=True, kw_only=True)
class Square(Directed):
    """Squares of the whole budget at random places, one a query; each is kept where it moves the score further.

    Only scores are asked for, so masked gradients do not stop it: where it beats a white-box attack of the same
    budget, that attack's small effect is no evidence of robustness. The start is a random vertical stripe pattern.
    """

    eps: Real = 0.005
    """Largest change of a pixel, in [0, 1] units; every pixel that an image's range allows changes by it."""
    queries: Whole = 500
    """Scores asked for each image and direction, beyond the clean one."""
    seed: Whole = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_eps(self.eps)
        if self.queries < 1:
            raise ValueError(f"queries must be at least 1, got {self.queries}")

    @property
    def budget(self) -> float:
        return self.eps

    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        sign = self.sign(clean.score if clean else final_scores(score(images)))
        draws = [self._draws(image) for image in images]
        stripes, places, colours = (torch.stack(parts).to(images.device) for parts in zip(*draws, strict=True))
        best = project(images + self.eps * stripes.unsqueeze(2), images, self.eps)
        best_value = sign * final_scores(score(best))
        for step in range(1, self.queries):
            is_inside = squares(places[:, step], self._side(step, images), images)
            colour = self.eps * colours[:, step, :, None, None]
            proposed = torch.where(is_inside, project(images + colour, images, self.eps), best)
            best, best_value = keep_better(best, best_value, proposed, sign * final_scores(score(proposed)))
        return best

    def _draws(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One image's random numbers: stripes (3, W) and colours (queries, 3) of ±1, places (queries, 2) in [0, 1)."""
        generator = image_generator(self.seed, image)
        stripes = torch.randint(0, 2, (3, image.shape[-1]), generator=generator)
        places = torch.rand((self.queries, 2), generator=generator, dtype=torch.float64)
        return 2 * stripes - 1, places, 2 * torch.randint(0, 2, (self.queries, 3), generator=generator) - 1

    def _side(self, step: int, images: Tensor) -> int:
        """The square's side at a step: of an area that halves as the search goes on, and within the image."""
        height, width = images.shape[-2:]
        halved = sum(10_000 * step / self.queries > at for at in HALVINGS)
        side = round((LARGEST_SHARE / 2**halved * height * width) ** 0.5)
        return max(1, min(side, height, width))


def squares(places: Tensor, side: int, images: Tensor) -> Tensor:
    """(N, 1, H, W): whether a pixel lies in its image's square, whose place (N, 2) in [0, 1) is of its upper left."""
    height, width = images.shape[-2:]
    room = places.new_tensor([height - side + 1, width - side + 1])
    top, left = (places * room).long().unsqueeze(2).unbind(1)
    rows, columns = (torch.arange(size, device=images.device) for size in (height, width))
    is_row, is_column = (rows >= top) & (rows < top + side), (columns >= left) & (columns < left + side)
    return (is_row.unsqueeze(2) & is_column.unsqueeze(1)).unsqueeze(1)
