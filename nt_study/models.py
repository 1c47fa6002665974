"""Models, whosever they are: load, score, attack, measure, audit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from search_spaces.parameters import parse_attacks, typed_attack
from study.export.images import as_list, is_path, pixels_of
from study.export.opening import open_checkpoint
from study.export.reading import score_pixels
from study.looking.frames import audit_frame
from trainables import audit as auditing
from trainables.attacks import create_attack
from trainables.devices import usable_device
from trainables.evaluate import evaluate
from trainables.models.scorer import InputSpec, Scorer
from trainables.objectives import DEFAULT_ATTACK
from trainables.objectives import measure as measure_table

Score = nn.Module | Callable[[Tensor], Tensor]
"""(N, 3, H, W) RGB in [0, 1] -> (N,) or (N, 1) scores in [0, 100], higher is better."""


class Model(nn.Module):
    """A quality model: RGB images (N, 3, H, W) in [0, 1] -> (N,) scores, with gradients; 0..100, higher is better.

    The scale of 0 to 100 is where scores lie, from the worst to the best image it was trained on, and no bound.
    """

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        self.scorer = scorer
        self.training = scorer.training

    def forward(self, images: Tensor) -> Tensor:
        """(N,) scores of images (N, 3, H, W) in [0, 1] of a size that the network takes; ValueError for others."""
        scores: Tensor = self.scorer(images)
        return scores

    def score(self, images: Any) -> NDArray[np.float64]:
        """(N,) scores of whole images of any size, the same numbers that `nt-study score` prints; without gradients.

        images: one or a list of files' paths, PIL images, or arrays (H, W, 3) RGB, uint8 or float in [0, 1]: an image
        is cut into views, and its score is their mean. Or a tensor (N, 3, H, W) in [0, 1] of a size that the network
        takes, as it is. ValueError for what is no image and for one that is too small.
        """
        if isinstance(images, Tensor):
            with torch.no_grad():
                found = self(images.to(self.scorer.mean.device))
            return np.asarray(found.double().cpu().numpy(), dtype=np.float64)
        listed = [images] if isinstance(images, np.ndarray) and images.ndim == 3 else as_list(images)
        names = [Path(image).name if is_path(image) else f"image {row}" for row, image in enumerate(listed)]
        return np.array(
            [score_pixels(self.scorer, pixels_of(image), name) for image, name in zip(listed, names, strict=True)]
        )


def load_model(path: str | Path, *, model: str | None = None, device: str = "cpu") -> Model:
    """A trained model in evaluation mode.

    path: a folder that `Study.export` or `nt-study export` wrote, a trial's folder, or a published weight file; of the
    latter, `model` says which network it is of, where its keys do not. device: "cpu", "cuda", "cuda:1", …
    StudyError where there is nothing; ValueError for what cannot be read as a model, and for a device that is not here.
    """
    place = usable_device(device)
    return Model(open_checkpoint(Path(path), model).to(place).eval())


def attack(model: Score, images: Tensor, name: str = "fgsm", *, mos: ArrayLike | None = None, **params: Any) -> Tensor:
    """Adversarial images (N, 3, H, W) in [0, 1], detached: they move the model's scores as far as they can.

    model: any PyTorch module or function, (N, 3, H, W) in [0, 1] -> (N,) or (N, 1) scores in [0, 100]; it is attacked
    in evaluation mode and left as it was. images: float (N, 3, H, W) in [0, 1]; each is attacked by itself. name:
    "fgsm", "ifgsm", "apgd", "square", "perceptual", "noise", "kor", "uap", "stadv", "transfer", "mad", "again", or,
    on the ranking of all `images` together, "rank" or "rank_square". mos: (N,) in [0, 100], where known.
    params: the attack's own, as in `eps=8 / 255, steps=10`; by default the paper's (eps 0.005 in [0, 1] pixel units).
    ValueError for an unknown attack or parameter, for values out of range, and for a model that does not return scores.
    """
    chosen = typed_attack(name, {"name": name, **params})
    truth = None if mos is None else torch.as_tensor(np.asarray(mos), dtype=images.dtype, device=images.device)
    run = create_attack(**chosen)
    return run(_in_a_row(model), images, mos=truth)


def score_table(
    model: Score, images: Any, mos: ArrayLike, attacks: str = DEFAULT_ATTACK, *, split: str = "test"
) -> pd.DataFrame:
    """Score images clean and attacked: one row per image and attack, with the columns of `Study.scores`.

    model: a `Model`, which cuts each image into its views, or any module or function as for `attack`, which gets whole
    images; these then have one size. images: as for `Model.score`. mos: (N,) in [0, 100], what people say of them.
    attacks: as `nt-study attack` takes them, such as "fgsm,ifgsm:steps=20"; the first is the one that `measure` and
    `audit` go by if it is "fgsm".
    """
    pixels = [pixels_of(image) for image in as_list(images)]
    truth = np.asarray(mos, dtype=np.float64)
    if truth.shape != (len(pixels),):
        raise ValueError(f"mos must be one number per image, got shape {truth.shape} for {len(pixels)} images")
    names = [Path(image).name if is_path(image) else f"image {row}" for row, image in enumerate(as_list(images))]
    rows = pd.DataFrame({"index": range(len(pixels)), "image": names, "content": names, "split": split, "mos": truth})
    chosen = {label: create_attack(**params) for label, params in parse_attacks(attacks).items()}
    return evaluate(_scorer_of(model, pixels), pixels, rows, chosen)


def measure(table: pd.DataFrame, split: str = "test", attack: str = DEFAULT_ATTACK) -> dict[str, float]:
    """Every metric of a score table under one attack, by its name in the study's tables.

    `srocc`, `plcc`, `krocc` in [-1, 1] and `rmse` in MOS points of clean scores against MOS; with `_attacked` of clean
    against attacked scores, with `_mos_attacked` of MOS against attacked ones; `r_robustness`, `mean_abs_change`,
    `gradient_l1`. Under the table's other attacks with `/<attack>` behind. ValueError where the table lacks the rows.
    """
    return measure_table(table, split, attack)


def audit(table: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """Reasons to doubt the robustness that a score table shows; a row each, and none if all is well.

    `rule` is broken by `attack`: `ratio` was measured where up to `limit` is believable; `message` says of what.
    Attacks worth having in the table: "fgsm,ifgsm,apgd,noise,square,again,fgsm:eps=0.0005" (docs/audit.md). ValueError
    where the table has no rows of the split and of "fgsm".
    """
    flags = auditing.audit(table, split)
    return audit_frame({"": flags}).drop(columns="trial")


def _scorer_of(model: Score, pixels: list[NDArray[np.uint8]]) -> Scorer:
    """The model as `evaluate` takes it; a foreign one gets whole images as they are."""
    if isinstance(model, Model):
        return model.scorer
    sizes = {image.shape[:2] for image in pixels}
    if len(sizes) != 1:
        raise ValueError(f"a model that gets whole images needs them of one size, got {len(sizes)} sizes; resize them")
    height, width = sizes.pop()
    spec = InputSpec(height=height, width=width, mode="resize", smallest=1)
    whole = Scorer(_InARow(model), input_spec=spec, backbone=(), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    first = next(iter(whole.network.parameters()), None)
    return whole if first is None else whole.to(first.device)


def _in_a_row(model: Score) -> Score:
    return model.scorer if isinstance(model, Model) else _InARow(model)


class _InARow(nn.Module):
    """A model whose scores are (N,), where it gives (N, 1)."""

    def __init__(self, model: Score) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        scores = self.model(images)
        if scores.shape not in ((len(images),), (len(images), 1)):
            raise ValueError(
                f"a model must return one score per image, (N,) or (N, 1), got {tuple(scores.shape)} for {len(images)}"
            )
        return scores.reshape(len(images))
