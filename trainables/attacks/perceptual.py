"""The perceptual attack of Zhang et al. (NeurIPS 2022): move the score while a similarity to the clean image counts.

The released code's quirks are the defaults here, because the paper's figures come from it: the start is dark noise of
one grey level, every step has a fresh Adam and so is a sign step, and the last iterate is the result. With a large
weight the steps undo each other: after an even number the image is the start again, whatever the model. So compare an
effect with that of the start alone, which is this attack with `steps=0`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from trainables.attacks.base import Attack, CleanPass, image_generator, keep_better
from trainables.gradients import Score, final_scores, input_gradient
from trainables.ssim import ssim
from trainables.written import Real, Whole

Distance = Callable[[Tensor, Tensor], Tensor]
"""(clean, other), both (N, 3, H, W) in [0, 1] -> (N,), 0 where they look the same."""

CORNER = 5
"""Side of the two corners that the released code keeps free of gradient (meant as a frame) for SSIM and Linf."""
TINY = 1e-12
ADAM_EPS = 1e-8
CONSTRAINTS = ("ssim", "ssim_piq", "linf", "lpips", "dists", "dists_released")
NETWORK_WEIGHTS = {
    "lpips": ("lpips_weights.pt", "vgg16-397923af.pth"),
    "dists": ("dists_weights.pt", "vgg16-397923af.pth"),
}
"""Files that piq's LPIPS and DISTS read from torch's hub cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Perceptual(Attack):
    """Ascent of (score - clean score)² + weight * similarity(clean image, image), as released."""

    constraint: str = "ssim"
    """The similarity: `ssim` (replicate-padded, as bundled with the released code), `ssim_piq`, `lpips` and `dists`
    (1 - distance), `dists_released` (the distance itself, the released sign, which rewards dissimilarity), or `linf`,
    as released no constraint at all, so that its weight must be 0."""
    weight: Real = 1e6
    """λ of the Lagrangian; it acts against squared scores, so it depends on their scale (0..100 here)."""
    steps: Whole = 200
    """0 gives the start alone: the control beside which the attack's effect is read."""
    alpha: Real = 0.005
    """Step size, in [0, 1] units."""
    best_iterate: bool = False
    """Return each image's iterate with the largest score change instead of the last one. Stronger than the released
    attack: say so where results are shown."""
    distance: Distance | None = None
    """Stands in for the network behind `lpips` or `dists`, whose weights have to be fetched otherwise."""
    seed: Whole = 0
    """Of the start's noise, together with the image's own pixels."""
    start_noise: Tensor | None = None
    """(N, 3, H, W) in grey levels, instead of the drawn noise in {-1, 0}."""

    def __post_init__(self) -> None:
        if self.constraint not in CONSTRAINTS:
            raise ValueError(f"unknown constraint {self.constraint!r}; choose one of {', '.join(CONSTRAINTS)}")
        if self.constraint == "linf" and self.weight != 0:
            raise ValueError("constraint 'linf' has no similarity to weigh, as released; set weight=0")
        if self.weight < 0 or self.steps < 0 or not self.alpha > 0:
            raise ValueError(
                f"weight and steps must not be negative and alpha must be positive, got {self.weight}, {self.steps}, "
                f"{self.alpha}"
            )

    @property
    def control(self) -> Perceptual | None:
        """The start's noise alone."""
        return replace(self, steps=0) if self.steps else None

    def perturb(self, score: Score, images: Tensor, clean: CleanPass | None, mos: Tensor | None) -> Tensor:
        clean_score = clean.score if clean else final_scores(score(images))
        similarity = self._similarity()
        adversarial = (images + self._noise(images) / 255).clamp(0, 1)
        best, best_change = adversarial, torch.full_like(clean_score, -torch.inf)
        for _ in range(self.steps):
            scores, gradient = input_gradient(score, adversarial)
            best, best_change = keep_better(best, best_change, adversarial, (scores - clean_score).abs())
            gradient = 2 * (scores - clean_score).view(-1, 1, 1, 1) * gradient
            if self.weight:
                gradient += self.weight * input_gradient(partial(similarity, images), adversarial)[1]
            adversarial = (adversarial + self._step(gradient)).clamp(0, 1)
        if not self.best_iterate:
            return adversarial
        change = (final_scores(score(adversarial)) - clean_score).abs()
        return keep_better(best, best_change, adversarial, change)[0]

    def _noise(self, images: Tensor) -> Tensor:
        if self.start_noise is not None:
            if self.start_noise.shape != images.shape:
                raise ValueError(f"start_noise must have the images' shape {tuple(images.shape)}")
            return self.start_noise.to(images)
        draws = [torch.randint(-1, 1, image.shape, generator=image_generator(self.seed, image)) for image in images]
        return torch.stack(draws).to(images)

    def _similarity(self) -> Distance:
        if self.constraint in ("ssim", "ssim_piq") or not self.weight:
            return partial(ssim, form="valid" if self.constraint == "ssim_piq" else "replicate")
        distance = self.distance or network_distance(self.constraint.removesuffix("_released"))
        if self.constraint == "dists_released":
            return distance
        return lambda clean, other: 1 - distance(clean, other)

    def _step(self, gradient: Tensor) -> Tensor:
        """One step of an Adam that has just been made: the sign of the gradient, but for numbers near 1e-8."""
        gradient = gradient.nan_to_num(nan=0.0)
        # The released code norms the whole batch, of one image; here every image has its own norm.
        norm = (gradient + TINY).flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        gradient = gradient / norm
        if self.constraint in ("ssim", "ssim_piq", "linf"):
            gradient[..., :CORNER, :CORNER] = 0
            gradient[..., -CORNER:, -CORNER:] = 0
        return self.alpha * gradient / (gradient.abs() + ADAM_EPS)


def network_distance(name: str) -> Distance:
    """piq's `lpips` or `dists`, from weights in torch's hub cache. Raises ValueError where they are not there."""
    import piq

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    missing = [file for file in NETWORK_WEIGHTS[name] if not (folder / file).exists()]
    if missing:
        raise ValueError(
            f"the {name} constraint needs {' and '.join(missing)} in {folder}; fetch the metric's weights from piq's "
            "GitHub release v0.4.0 or v0.4.1 and the VGG16 weights from torchvision, or use constraint 'ssim'"
        )
    for file in NETWORK_WEIGHTS[name]:
        # piq and torchvision would unpickle anything that lies in the cache; refuse what is not plain tensors first.
        torch.load(folder / file, map_location="cpu", weights_only=True)
    network: Distance = {"lpips": piq.LPIPS, "dists": piq.DISTS}[name](reduction="none")
    return network
