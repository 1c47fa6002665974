"""Defences before a trained scorer: what they do, that attacks go through them, and what the median certifies."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from search_spaces.parameters import parse_wrapper
from trainables.attacks import create_attack
from trainables.evaluate import evaluate
from trainables.gradients import input_gradient
from trainables.models.scorer import InputSpec, Scorer
from trainables.wrappers import WRAPPERS, create_wrapper, defended
from trainables.wrappers.certificate import certified
from trainables.wrappers.smoothing import MedianSmoothing

SIDE = 16
NAMES = list(WRAPPERS)


class Pixels(nn.Module):
    """Scores (N,): a smooth, curved function of all pixels."""

    def __init__(self, *, curved: bool = True) -> None:
        super().__init__()
        self.curved = curved
        weights = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) / 50
        self.weights = nn.Parameter(weights)

    def forward(self, inputs: Tensor) -> Tensor:
        summed = (inputs * self.weights).flatten(1).sum(1)
        return summed.sin() if self.curved else summed


def scorer(*, curved: bool = True) -> Scorer:
    spec = InputSpec(height=SIDE, width=SIDE, mode="crop")
    return Scorer(Pixels(curved=curved), input_spec=spec, backbone=(), scale=25.0, offset=50.0).eval()


def images(count: int = 3) -> Tensor:
    return 0.3 + 0.4 * torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_repeatable_and_no_matter_of_the_batch(name: str) -> None:
    model, batch = defended(scorer(), name), images()
    together = model(batch)
    assert torch.equal(together, model(batch))
    alone = torch.cat([model(image[None]) for image in batch])
    torch.testing.assert_close(alone, together)
    assert (together - scorer()(batch)).abs().max() > 1e-4, "the defence does something"


@pytest.mark.parametrize("name", NAMES)
def test_attacks_get_a_gradient_through_every_defence(name: str) -> None:
    """And it is of use: a step along it moves the defended score more than a step anywhere."""
    model, batch = defended(scorer(), name), images(8)
    _, gradient = input_gradient(model, batch)
    assert torch.isfinite(gradient).all() and (gradient.flatten(1).abs().sum(1) > 0).all()
    found = {}
    for attack in ("fgsm", "noise"):
        adversarial = create_attack(attack, eps=0.02)(model, batch)
        found[attack] = (model(adversarial) - model(batch)).abs().mean()
    assert found["fgsm"] > 2 * found["noise"]


def test_jpeg_is_the_files_own() -> None:
    batch = images(1)
    levels = (batch[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(levels).save(file, format="JPEG", quality=30)
    with Image.open(file) as decoded:
        expected = torch.from_numpy(np.array(decoded)).permute(2, 0, 1).float() / 255
    found = create_wrapper("jpeg", quality=30).transform(batch)[0]  # type: ignore[attr-defined]
    torch.testing.assert_close(found, expected)


def test_bit_depth_leaves_so_many_levels() -> None:
    found = create_wrapper("bit_depth", bits=2).transform(images())  # type: ignore[attr-defined]
    torch.testing.assert_close(found.unique(), torch.tensor([1 / 3, 2 / 3]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["resize", "crops"])
def test_an_image_of_one_colour_is_scored_as_it_is(name: str) -> None:
    flat = torch.full((2, 3, SIDE, SIDE), 0.4)
    torch.testing.assert_close(defended(scorer(), name)(flat), scorer()(flat))


def test_the_mean_under_noise_of_a_linear_score_is_the_score() -> None:
    model = scorer(curved=False)
    batch = images()
    sigma, draws = 0.05, 401
    pixels = model.network.get_parameter("weights").detach() / model.std
    error = 25 * sigma * float(pixels.square().sum().sqrt()) / math.sqrt(draws)
    for name in ("gaussian_smoothing", "median_smoothing"):
        found = defended(model, name, sigma=sigma, draws=draws)(batch)
        assert (found - model(batch)).abs().max() < 5 * error, name


def test_the_median_certifies_the_worst_change_of_a_linear_score_and_little_more() -> None:
    """Under Gaussian noise a linear score's quantiles lie radius * ‖w‖₂ from its median: no bound can be closer."""
    model, image, radius = scorer(curved=False), images(1)[0], 0.05
    pixels = (model.network.get_parameter("weights") / model.std).detach()
    worst = 25 * radius * float(pixels.square().sum().sqrt())
    wrapper = MedianSmoothing(sigma=0.05)
    with torch.no_grad():
        low, middle, high = wrapper.certify(model, image, radius=radius, draws=4001)
        clean = float(model(image[None]))
    assert low <= clean - worst and clean + worst <= high
    assert high - low < 1.25 * 2 * worst
    assert middle == pytest.approx(clean, abs=worst / 10)


def test_too_few_draws_certify_nothing_and_no_radius_is_only_doubt() -> None:
    model, image = scorer(), images(1)[0]
    wrapper = MedianSmoothing(sigma=0.05)
    low, _, high = wrapper.certify(model, image, radius=1.0, draws=101)
    assert (low, high) == (-math.inf, math.inf)
    near = wrapper.certify(model, image, radius=0.0, draws=1001)
    far = wrapper.certify(model, image, radius=0.05, draws=1001)
    assert far[0] < near[0] < near[1] < near[2] < far[2]


def table() -> tuple[Any, pd.DataFrame]:
    levels = (images(6) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    names = [str(number) for number in range(6)]
    rows = pd.DataFrame({"index": range(6), "image": names, "content": names, "split": "test", "mos": range(6)})
    return levels, rows


@pytest.mark.parametrize("name", ["resize", "crops"])
def test_an_attack_that_knows_the_defence_is_stronger_than_one_that_does_not(name: str) -> None:
    levels, rows = table()
    attacks = {"fgsm": create_attack("fgsm", eps=0.004)}
    behind = defended(scorer(), name)
    aware = evaluate(behind, levels, rows, attacks, seen=behind.with_other_draws())
    unaware = evaluate(behind, levels, rows, attacks, seen=scorer())
    moved = [(found["attacked_score"] - found["clean_score"]).abs().mean() for found in (aware, unaware)]
    assert moved[0] > moved[1]
    np.testing.assert_array_equal(aware["clean_score"], unaware["clean_score"])


def test_attackers_draw_other_noise_than_the_defender() -> None:
    behind = defended(scorer(), "median_smoothing", draws=3)
    assert (behind.with_other_draws()(images()) - behind(images())).abs().min() > 0
    plain = defended(scorer(), "jpeg")
    assert plain.with_other_draws() is plain


def test_what_a_set_of_images_is_certified() -> None:
    levels, rows = table()
    found = certified(scorer(), MedianSmoothing(sigma=0.05), levels, rows, 0.01)
    assert found.finite == found.images == 6
    assert 0 < found.mean_change <= found.largest_change
    assert found.linf == pytest.approx(0.01 / math.sqrt(3 * SIDE * SIDE))
    nothing = certified(scorer(), MedianSmoothing(sigma=0.01), levels, rows, 1.0)
    assert nothing.finite == 0 and nothing.to_dict()["mean_change"] is None and "none" in nothing.describe()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("jpg", "unknown defence of a trained model 'jpg'; did you mean 'jpeg'"),
        ("trades", "trained with and not put before a trained model"),
        ("jpeg:60", "sets no parameter; write name:parameter=value"),
        ("jpeg:q=60", "has no parameter 'q'; it takes quality"),
        ("jpeg:quality=0", "quality is a whole number from 1 to 95"),
        ("jpeg:quality=high", "quality: expected a number"),
        ("resize:factor=2", "factor is a share"),
        ("crops:share=1", "share is a crop's share"),
        ("bit_depth:bits=9", "bits is a whole number from 1 to 8"),
        ("median_smoothing:draws=4", "draws must be an odd number"),
        ("median_smoothing:sigma=0", "sigma must be positive"),
    ],
)
def test_a_mistake_gets_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_wrapper(text)


def test_parameters_are_read_as_people_write_them() -> None:
    assert parse_wrapper("median_smoothing:sigma=8/255:draws=7") == MedianSmoothing(sigma=8 / 255, draws=7)
