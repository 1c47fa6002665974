"""Randomised smoothing: the mean or the median score of an image under Gaussian noise.

Mean: Cohen et al., ICML 2019. Median: Chiang et al., "Detection as Regression: Certified Object Detection by Median
Smoothing", NeurIPS 2020; for NR-IQA "Stochastic BIQA: Median Randomized Smoothing for Certified Blind Image Quality
Assessment", arXiv 2411.12575, whose denoiser is not here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from trainables.attacks.base import image_generator
from trainables.gradients import Score
from trainables.wrappers.base import Wrapper
from trainables.written import Real, Whole

DRAWS_AT_A_TIME = 64
"""Noisy images that are scored together for a certificate, which needs many."""


@dataclass(frozen=True, kw_only=True)
class GaussianSmoothing(Wrapper):
    """The mean over noisy copies; its gradient is the mean of theirs (EOT).

    An image's noise derives from the seed and its own pixels, so a score is repeatable, and every step of an attack
    meets other noise.
    """

    sigma: Real = 0.05
    """Standard deviation of the noise, in [0, 1] pixel units. What leaves [0, 1] is cut off."""
    draws: Whole = 15
    """Noisy copies of an image. Odd, so that a median is one of their scores."""
    seed: Whole = 0

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ValueError(f"sigma must be positive, got {self.sigma}")
        if self.draws < 1 or self.draws % 2 == 0:
            raise ValueError(f"draws must be an odd number of at least 1, got {self.draws}")

    def score(self, scorer: Score, images: Tensor) -> Tensor:
        return self._scores(scorer, images).mean(0)

    def _scores(self, scorer: Score, images: Tensor) -> Tensor:
        """(draws, N) scores of the noisy copies."""
        noise = torch.stack([self._noise(image) for image in images.detach()], dim=1)
        noisy = (images + noise).clamp(0, 1)
        return scorer(noisy.flatten(0, 1)).view(self.draws, len(images))

    def _noise(self, image: Tensor) -> Tensor:
        generator = image_generator(self.seed, image)
        return self.sigma * torch.randn(self.draws, *image.shape, generator=generator).to(image)


@dataclass(frozen=True, kw_only=True)
class MedianSmoothing(GaussianSmoothing):
    """The median over noisy copies.

    An attack gets the gradient of their mean: the median's own is that of one copy, which is noise.
    """

    def score(self, scorer: Score, images: Tensor) -> Tensor:
        scores = self._scores(scorer, images)
        mean = scores.mean(0)
        return mean + (scores.median(0).values - mean).detach()

    @torch.no_grad()
    def certify(
        self, scorer: Score, image: Tensor, *, radius: float, draws: int = 2001, confidence: float = 0.999
    ) -> tuple[float, float, float]:
        """Lower bound, estimate and upper bound of the median score of every image within the L2 distance `radius` of
        `image` (3, H, W), in [0, 1] pixels; the estimate is that of `image` itself.

        The median is that over all noise, which a score's few draws estimate. Where Φ is the normal distribution
        function, it lies between the Φ(-radius/sigma) and the Φ(radius/sigma) quantile of the scores of `image` under
        noise (Chiang et al., Lemma 1). The bounds are the order statistics of `draws` scores that contain these
        quantiles with `confidence`; infinite where so few draws cannot tell.
        """
        scores = []
        generator = image_generator(self.seed, image)
        for start in range(0, draws, DRAWS_AT_A_TIME):
            count = min(DRAWS_AT_A_TIME, draws - start)
            noise = torch.randn(count, *image.shape, generator=generator).to(image)
            scores.append(scorer((image + self.sigma * noise).clamp(0, 1)))
        ordered = torch.cat(scores).sort().values
        low, high = _order_statistics(draws, radius / self.sigma, 1 - confidence)
        return (
            float(ordered[low - 1]) if low >= 1 else -math.inf,
            float(ordered[draws // 2]),
            float(ordered[high - 1]) if high <= draws else math.inf,
        )


def _order_statistics(draws: int, distance: float, risk: float) -> tuple[int, int]:
    """Which of the ordered scores, from 1, lie beyond the Φ(-distance) and Φ(distance) quantiles, each missing at most
    half of `risk`; 0 and draws + 1 where none does."""
    low = int(stats.binom.ppf(risk / 2, draws, stats.norm.cdf(-distance)))
    if stats.binom.cdf(low - 1, draws, stats.norm.cdf(-distance)) > risk / 2:
        low -= 1
    # The upper bound is the lower one of the scores in reverse.
    return low, draws + 1 - low
