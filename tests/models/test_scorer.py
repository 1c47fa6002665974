"""What every model promises, whatever its architecture."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from trainables.models import MODELS, create_model
from trainables.models.scorer import IMAGENET_MEAN, IMAGENET_STD, Scorer
from trainables.regularizer import exact_penalty, nt_penalty

OTHER_STATISTICS = {"maniqa": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), "paq2piq": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))}
"""Mean and standard deviation of models that are not normalised to ImageNet's."""
FIXED_SIZE = ("hyperiqa", "maniqa")
NUM_IMAGES = 6


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Scorer:
    """A small model of every kind, in eval mode, whose BatchNorm statistics have seen images."""
    torch.manual_seed(1)
    scorer = create_model(request.param, size="small")
    with torch.no_grad():
        scorer(some_images(16))
    return scorer.eval()


def some_images(count: int = NUM_IMAGES, height: int = 64, width: int = 64) -> Tensor:
    """Images `(count, 3, height, width)` that differ in brightness and roughness."""
    generator = torch.Generator().manual_seed(count)
    levels = torch.rand(count, 3, 1, 1, generator=generator)
    contrast = torch.rand(count, 1, 1, 1, generator=generator)
    return levels * (1 - contrast) + contrast * torch.rand(count, 3, height, width, generator=generator)


@settings(max_examples=10, deadline=None)
@given(order=st.lists(st.integers(0, NUM_IMAGES - 1), min_size=1, max_size=NUM_IMAGES))
def test_an_images_score_does_not_depend_on_its_batch(model: Scorer, order: list[int]) -> None:
    images = some_images()
    with torch.no_grad():
        alone = torch.cat([model(images[index : index + 1]) for index in order])
        together = model(images[order])
    assert together.shape == (len(order),)
    assert torch.allclose(together, alone, rtol=0, atol=1e-3)  # of 0..100
    assert model(images).std() > 1e-3  # the scores are not all one number


def test_every_pixel_has_a_finite_gradient(model: Scorer) -> None:
    images = some_images().requires_grad_()
    (gradient,) = torch.autograd.grad(model(images).sum(), images)
    assert torch.isfinite(gradient).all()
    assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite_and_near(model: Scorer, precision: torch.dtype) -> None:
    images = some_images()
    expected = model(images)
    try:
        leaf = images.to(precision).requires_grad_()
        scores = model.to(precision)(leaf)
        (gradient,) = torch.autograd.grad(scores.sum(), leaf)
    finally:
        model.float()
    assert scores.dtype == precision
    assert torch.isfinite(gradient).all()
    assert torch.allclose(scores.float(), expected, rtol=0, atol=5)


def test_autocast_stays_finite(model: Scorer) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = model(some_images())
    assert torch.isfinite(scores).all()


def test_pixels_and_scores_are_mapped_by_visible_buffers(model: Scorer) -> None:
    images = some_images()
    inputs = (images - model.mean) / model.std
    outputs = model.network(inputs)
    scores = outputs if outputs.ndim == 1 else outputs[-1]
    assert torch.equal(model.normalise(images), inputs)
    assert torch.equal(model.outputs(inputs), outputs)
    assert torch.allclose(model(images), model.scale * scores + model.offset)
    assert {"scale", "offset"} <= model.state_dict().keys()


@pytest.mark.parametrize("name", MODELS)
def test_normalisation_is_the_published_one(name: str) -> None:
    model = create_model(name, size="small")
    mean, std = OTHER_STATISTICS.get(name, (IMAGENET_MEAN, IMAGENET_STD))
    assert torch.equal(model.mean.flatten(), torch.tensor(mean))
    assert torch.equal(model.std.flatten(), torch.tensor(std))


def test_every_parameter_is_in_one_group(model: Scorer) -> None:
    groups = model.parameter_groups()
    grouped = [id(parameter) for group in groups.values() for parameter in group]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.network.parameters())
    assert groups["head"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 1, 64, 64), r"\(N, 3, H, W\)"),
        (torch.zeros(3, 64, 64), r"\(N, 3, H, W\)"),
        (torch.zeros(2, 3, 64, 64, dtype=torch.uint8), "divide 8-bit images by 255"),
        (torch.zeros(0, 3, 64, 64), "empty batch"),
        (torch.zeros(2, 3, 1, 64), "got 1x64"),
        (torch.full((2, 3, 64, 64), torch.nan), "NaN"),
        (torch.full((2, 3, 64, 64), torch.inf), "infinity"),
    ],
)
def test_bad_input_is_refused(model: Scorer, images: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(images)


def test_one_bad_pixel_is_enough(model: Scorer) -> None:
    images = some_images()
    images[-1, -1, -1, -1] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        model(images)


@pytest.mark.parametrize("name", MODELS)
def test_other_sizes_are_taken_where_the_network_can(name: str) -> None:
    model = create_model(name, size="small").eval()
    images = some_images(2, 72, 88)
    if name in FIXED_SIZE:
        with pytest.raises(ValueError, match="expected images of 64x64 pixels, got 72x88"):
            model(images)
    else:
        assert model(images).shape == (2,)


@pytest.mark.parametrize("name", FIXED_SIZE)
def test_paper_models_say_which_size_they_take(name: str) -> None:
    with pytest.raises(ValueError, match="224x224"):
        create_model(name)(some_images(1))


@pytest.mark.parametrize("name", MODELS)
def test_a_mobile_model_scores_each_image_by_itself_and_can_be_regularised(name: str) -> None:
    torch.manual_seed(2)
    model = create_model(name, size="mobile")
    images = some_images(2, 224, 224)
    _, penalty = nt_penalty(model.outputs, model.normalise(images), 0.01)
    penalty.backward()
    found = [parameter.grad for parameter in model.network.parameters() if parameter.grad is not None]
    assert penalty > 0
    assert all(torch.isfinite(gradient).all() for gradient in found)
    first = next(model.network.parameters()).grad
    assert first is not None and first.any()
    model.eval()
    with torch.no_grad():
        scores = model(images)
        assert torch.allclose(scores[1:], model(images[1:]), rtol=0, atol=1e-3)
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("name", MODELS)
def test_the_global_seed_decides_the_weights(name: str) -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.cat([parameter.flatten() for parameter in create_model(name, size="small").parameters()])

    assert torch.equal(weights(7), weights(7))
    assert not torch.equal(weights(7), weights(8))


@pytest.mark.parametrize("penalty", [exact_penalty, lambda score, inputs: nt_penalty(score, inputs, 0.01)])
def test_the_regulariser_reaches_the_weights(
    model: Scorer, penalty: Callable[[Callable[[Tensor], Tensor], Tensor], tuple[Tensor, Tensor]]
) -> None:
    _, value = penalty(model.outputs, model.normalise(some_images()))
    gradients = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
    found = [gradient for gradient in gradients if gradient is not None]
    assert value > 0
    assert all(torch.isfinite(gradient).all() for gradient in found)
    assert any((gradient != 0).any() for gradient in found)


@pytest.mark.parametrize("name", MODELS)
def test_a_small_model_can_be_trained(name: str) -> None:
    torch.manual_seed(3)
    model = create_model(name, size="small")
    roughness = torch.linspace(0, 1, 16)
    images = 0.5 + 0.5 * roughness.view(-1, 1, 1, 1) * (torch.rand(16, 3, 64, 64) - 0.5)
    targets = 80 - 60 * roughness
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        loss = (model(images) - targets).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < 0.6 * losses[0]


def test_saved_weights_score_the_same_in_a_fresh_process(tmp_path: Path) -> None:
    images = some_images()
    expected = {}
    for name in MODELS:
        torch.manual_seed(5)
        model = create_model(name, size="small").eval()
        model.scale.mul_(1.25)
        model.offset.add_(2.0)
        save_file(model.state_dict(), tmp_path / f"{name}.safetensors")
        expected[name] = model(images).detach()
    save_file({**expected, "images": images}, tmp_path / "expected.safetensors")
    script = f"""
import torch
from safetensors.torch import load_file
from trainables.models import create_model
expected = load_file({str(tmp_path / "expected.safetensors")!r})
images = expected.pop("images")
for name, scores in expected.items():
    model = create_model(name, size="small").eval()
    model.load_state_dict(load_file({str(tmp_path)!r} + f"/{{name}}.safetensors"))
    assert torch.allclose(model(images), scores, rtol=1e-6, atol=1e-6), name
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parent.parent.parent)


def test_wrong_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'hyperiqa'"):
        create_model("hyper-iqa")
    with pytest.raises(ValueError, match="expected one of paper, mobile, small"):
        create_model("dbcnn", size="tiny")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="small models have no pretrained weights"):
        create_model("dbcnn", size="small", pretrained=True)
