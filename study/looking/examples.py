"""What figures show of a few test images and a score table does not hold, made again from a trial's weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch

from analysis.figures.images import Example, Graded
from analysis.report_figures import FiniteDifferences
from study.storage.directory import StudyDirectory
from study.storage.images import images_of
from trainables.attacks import create_attack
from trainables.config import TrialConfig, trial_config_from_dict
from trainables.gradients import final_scores
from trainables.models.scorer import Scorer
from trainables.objectives import DEFAULT_ATTACK
from trainables.regularizer import estimated_l1, gradient_l1
from trainables.ssim import ssim
from trainables.suite import load_trial_model
from trainables.views import image_views

EXAMPLES = 3
"""Attacked images shown."""
TENTHS = 9
"""Of so many images at evenly spaced ranks, the first has a tenth of all below it, the last a tenth above."""
INTENSITIES = (0.002, 0.005, 0.01, 0.02)
"""eps of FGSM in [0, 1] pixels, the paper's among them."""
GRADIENTS = 16
"""Images whose gradient norm is estimated."""
STEP_SIZES = (0.001, 0.01, 0.1, 1.0)
"""h, in normalised units: those of Table 4."""


def examples_of(directory: StudyDirectory, trial: str) -> list[Example]:
    """The probe's attack on the first views of `EXAMPLES` test images, from bad to good ones.

    ValueError where the study's images are not on this machine.
    """
    config, model, rows, clean = _look_again(directory, trial, EXAMPLES)
    return _attacked(model, rows, clean, config.attacks[DEFAULT_ATTACK])


def _attacked(model: Scorer, rows: pd.DataFrame, clean: torch.Tensor, attack: Mapping[str, Any]) -> list[Example]:
    attacked = create_attack(**attack)(model, clean).detach()
    with torch.no_grad():
        before, after = model(clean), model(attacked)
    similarity = ssim(clean, attacked)
    return [
        Example(
            name=str(image),
            clean=_picture(clean[row]),
            attacked=_picture(attacked[row]),
            clean_score=float(before[row]),
            attacked_score=float(after[row]),
            ssim=float(similarity[row]),
        )
        for row, image in enumerate(rows["image"])
    ]


def graded_examples(directory: StudyDirectory, trials: Mapping[str, str]) -> Graded:
    """The first views of a bad and a good test image under FGSM of each of `INTENSITIES`, on several models.

    trials: trial -> what it is called. ValueError where the study's images are not on this machine.
    """
    found: dict[str, list[tuple[str, tuple[Example, ...]]]] = {}
    for trial, name in trials.items():
        _, model, rows, clean = _look_again(directory, trial, TENTHS)
        rows, clean = rows.iloc[[0, -1]], clean[[0, -1]]
        attacks = [{"name": "fgsm", "eps": eps, "alpha": eps} for eps in INTENSITIES]
        examples = [_attacked(model, rows, clean, attack) for attack in attacks]
        for mos, of_image in zip(rows["mos"], zip(*examples, strict=True), strict=True):
            label = f"{of_image[0].name}\nMOS {mos:.0f}, {name}"
            found.setdefault(of_image[0].name, []).append((label, of_image))
    return Graded(
        attacks=tuple(f"FGSM, ε = {eps:g}" for eps in INTENSITIES),
        rows=tuple(row for of_image in found.values() for row in of_image),
    )


def finite_differences_of(directory: StudyDirectory, trial: str) -> FiniteDifferences:
    """The gradient's norm on the first views of `GRADIENTS` test images, exact and by steps of `STEP_SIZES`."""
    _, model, _, clean = _look_again(directory, trial, GRADIENTS)
    inputs = model.normalise(clean)

    def score(normalised: torch.Tensor) -> torch.Tensor:
        return model.to_mos(final_scores(model.outputs(normalised)))

    return FiniteDifferences(
        exact=_numbers(gradient_l1(score, inputs)),
        estimates={step_size: _numbers(estimated_l1(score, inputs, step_size)) for step_size in STEP_SIZES},
    )


def example_rows(split: pd.DataFrame, count: int = EXAMPLES) -> pd.DataFrame:
    """Test images at evenly spaced ranks of MOS, neither the very worst nor the very best."""
    test = split[split["split"] == "test"].sort_values(["mos", "image"])
    ranks = (np.arange(1, count + 1) / (count + 1) * len(test)).astype(int)
    return test.iloc[sorted(set(ranks.tolist()))]


def _look_again(
    directory: StudyDirectory, trial: str, count: int
) -> tuple[TrialConfig, Scorer, pd.DataFrame, torch.Tensor]:
    """The trial's configuration and model, rows of test images, and the first view of each, (N, 3, H, W) in [0, 1]."""
    config = trial_config_from_dict(directory.read_json(f"trials/{trial}/config.json"))
    model = load_trial_model(config, directory.weights(trial).parent)
    store, split = _images_of(directory)
    rows = example_rows(split, count)
    views = [
        image_views(store[index], model.input_spec, image=str(image))[:1]
        for index, image in zip(rows["index"], rows["image"], strict=True)
    ]
    return config, model, rows, torch.cat(views).float() / 255


_images_of = lru_cache(maxsize=1)(images_of)


def _picture(image: torch.Tensor) -> np.ndarray:
    """(3, H, W) -> (H, W, 3)"""
    return image.permute(1, 2, 0).numpy()


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()
