"""Attacks on the ranking of a whole set: as many pairs of images as possible change places.

After the two-stage attack of Yang et al. ("Beyond Score Changes", 2024, SMA), which first finds scores for all images
of a set and then moves each image to its own. Theirs are found by gradient descent on Spearman's correlation of soft
ranks, whatever an image can reach. Here what each image can reach is found first, and its score is chosen among that.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from trainables.attacks.apgd import AutoPgd
from trainables.attacks.base import Attack, CleanPass, Numbers, Positions, require_eps
from trainables.attacks.direction import Directed, Direction
from trainables.attacks.square import Square
from trainables.gradients import Score
from trainables.written import Real, Whole

SWEEPS = 50
"""Times that all images are gone through at most; some ten are enough for a few hundred."""
RANDOM_STARTS = 2


@dataclass(frozen=True, kw_only=True)
class _Rank(Attack):
    """Between an image pushed up, the clean one and the one pushed down lie images of scores in between.

    These are the candidates; which one an image is, all scores of the set decide. Maximising discordant pairs is
    minimising Kendall's tau; Spearman's correlation falls with it.
    """

    eps: Real = 0.005
    """Largest change of a pixel, in [0, 1] units."""
    levels: Whole = 4
    """Candidates on either side of the clean image, the furthest one included; each costs a score."""
    reference: Literal["clean", "mos"] = "clean"
    """Whose order is to be broken: that of the clean scores (`srocc_attacked`), or of the MOS (`srocc_mos_attacked`),
    by an attacker who knows what people say of the images."""
    seed: Whole = 0

    def __post_init__(self) -> None:
        require_eps(self.eps)
        if self.levels < 1:
            raise ValueError(f"levels must be at least 1, got {self.levels}")
        if self.reference not in ("clean", "mos"):
            raise ValueError(f"unknown reference {self.reference!r}; choose clean or mos")
        _ = self.sides  # whose parameters are checked here

    @abstractmethod
    def _towards(self, direction: Direction) -> Directed:
        """The attack that moves a score as far as it goes in one direction."""

    @property
    def budget(self) -> float:
        return self.eps

    @property
    def sides(self) -> tuple[Attack, ...]:
        return self._towards("up"), self._towards("down")

    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        raise AssertionError("an attack on a ranking has two sides and asks them")

    def between(self, images: Tensor, ends: list[Tensor]) -> Iterator[Tensor]:
        """The clean images first; what lies between two images of a budget's box lies within the box."""
        yield images
        for end in ends:
            for level in range(1, self.levels + 1):
                yield images + level / self.levels * (end - images)

    def choose(self, clean_score: Numbers, found: Numbers, mos: Numbers | None) -> Positions:
        if self.reference == "clean":
            return most_discordant(clean_score, found, seed=self.seed)
        if mos is None:
            raise ValueError("reference 'mos' needs one MOS per image: attack(score, images, mos=mos)")
        return most_discordant(mos, found, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class Rank(_Rank):
    """White box: the ends are Auto-PGD's."""

    steps: Whole = 20
    restarts: Whole = 1

    def _towards(self, direction: Direction) -> AutoPgd:
        return AutoPgd(eps=self.eps, steps=self.steps, restarts=self.restarts, seed=self.seed, direction=direction)


@dataclass(frozen=True, kw_only=True)
class SquareRank(_Rank):
    """Query access alone: the ends are the Square attack's."""

    queries: Whole = 500
    """Scores asked for each image and direction, beside those of the candidates."""

    def _towards(self, direction: Direction) -> Square:
        return Square(eps=self.eps, queries=self.queries, seed=self.seed, direction=direction)


def most_discordant(reference: Numbers, found: Numbers, *, seed: int = 0) -> Positions:
    """(N,) which of its reachable scores each image takes, so that many pairs stand against the reference's order.

    reference: (N,). found: (K, N), what each image can reach. Images are gone through one by one, each taking the score
    with the most discordant pairs among the others as they then are, until none gains. That is a local optimum: the
    best of several, from the first candidates, from a mirrored order and from random ones. Pairs that the reference
    ties do not count.
    """
    mirrored = np.sort(reference)[::-1][reference.argsort(kind="stable").argsort(kind="stable")]
    random = np.random.default_rng(seed).integers(0, len(found), (RANDOM_STARTS, len(reference)))
    starts = (np.zeros(len(reference), dtype=np.int64), np.abs(found - mirrored).argmin(0), *random)
    climbed = [_climb(reference, found, start) for start in starts]
    everyone = np.arange(len(reference))
    return max(climbed, key=lambda chosen: discordant_pairs(reference, found[chosen, everyone]))


def discordant_pairs(reference: Numbers, scores: Numbers) -> int:
    """How many pairs of images two lists of numbers order differently; a tie in either is no disorder."""
    order = np.subtract.outer(reference, reference)
    return int((order * np.subtract.outer(scores, scores) < 0).sum()) // 2


def _climb(reference: Numbers, found: Numbers, chosen: Positions) -> Positions:
    chosen, scores = chosen.copy(), found[chosen, np.arange(len(chosen))]
    for _ in range(SWEEPS):
        has_gained = False
        for image, own in enumerate(reference):
            better, worse = scores[reference > own], scores[reference < own]
            pairs = (better < found[:, image, None]).sum(1) + (worse > found[:, image, None]).sum(1)
            if pairs.max() > pairs[chosen[image]]:
                chosen[image], has_gained = pairs.argmax(), True
                scores[image] = found[chosen[image], image]
        if not has_gained:
            break
    return chosen
