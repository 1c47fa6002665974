"""The NT penalty and the theory behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_scorer import GOLDEN, MEAN, STD, network, scorer_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import noisy_gradients, pixels, small_scorer, trained_scorer
from torch import Tensor

from trainables.attacks import create_attack
from trainables.regularizer import exact_penalty, gradient_l1, nt_penalty

ARRAYS = dict(np.load(GOLDEN / "nt.npz"))
STEP_SIZES = (0.001, 0.01, 0.1, 1.0)
# The difference of two scores near 50 has about 6e-8 * 50 / h left of float32.
VALUE_TOLERANCE = {0.001: 2e-4, 0.01: 1e-5, 0.1: 1e-5, 1.0: 1e-5}


def golden_score(dtype: torch.dtype) -> tuple[Any, dict[str, Tensor], Tensor]:
    weights = {name: weight.requires_grad_() for name, weight in scorer_weights(ARRAYS, "scorer_", dtype).items()}
    inputs = torch.tensor(ARRAYS["z_normalised"], dtype=dtype)
    return lambda inputs: network(inputs, weights), weights, inputs


def relative_error(weights: dict[str, Tensor], prefix: str) -> float:
    """Of all parameters' gradients together; parameters without influence count as zero."""
    found = np.concatenate(
        [np.zeros(w.numel()) if w.grad is None else w.grad.numpy().ravel() for w in weights.values()]
    )
    expected = np.concatenate([ARRAYS[prefix + name].ravel() for name in weights])
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("step_size", STEP_SIZES)
def test_penalty_equals_the_released_code(step_size: float) -> None:
    score, weights, inputs = golden_score(torch.float32)
    scores, penalty = nt_penalty(score, inputs, step_size)
    np.testing.assert_allclose(scores.detach().numpy(), score(inputs).detach().numpy())
    expected = float(ARRAYS[f"released/h{step_size}/value"])
    assert penalty.item() == pytest.approx(expected, rel=VALUE_TOLERANCE[step_size])
    penalty.backward()
    # Processors round differently. What float32 cost the released code itself, it may cost here once more.
    golden = [
        [ARRAYS[f"released/h{step_size}/{kind}{name}"].ravel() for name in weights] for kind in ("grad_", "grad_f64_")
    ]
    rounded, exact = (np.concatenate(parts) for parts in golden)
    own_error = float(np.linalg.norm(rounded - exact) / np.linalg.norm(exact))
    assert relative_error(weights, f"released/h{step_size}/grad_") < 2 * own_error + 1e-5


@pytest.mark.parametrize("step_size", STEP_SIZES)
def test_penalty_equals_the_released_code_in_double_precision(step_size: float) -> None:
    score, weights, inputs = golden_score(torch.float64)
    _, penalty = nt_penalty(score, inputs, step_size)
    assert penalty.item() == pytest.approx(float(ARRAYS[f"released/h{step_size}/value_f64"]), rel=1e-9)
    assert 2 * penalty.item() == pytest.approx(float(ARRAYS[f"paper_no_half/h{step_size}/value_f64"]), rel=1e-9)
    penalty.backward()
    assert relative_error(weights, f"released/h{step_size}/grad_f64_") < 1e-9


def test_exact_penalty_and_norm() -> None:
    score, weights, inputs = golden_score(torch.float64)
    norms = gradient_l1(score, inputs)
    np.testing.assert_allclose(norms.numpy(), ARRAYS["exact_l1_normalised_space_f64"], rtol=1e-9)
    in_pixels = gradient_l1(lambda images: score((images - MEAN.double()) / STD.double()), inputs * STD + MEAN)
    np.testing.assert_allclose(in_pixels.numpy(), ARRAYS["exact_l1_pixel_space_f64"], rtol=1e-5)
    _, penalty = exact_penalty(score, inputs)
    assert penalty.item() == pytest.approx(float(ARRAYS["exact/half_mean_l1sq_f64"]), rel=1e-9)
    penalty.backward()
    assert relative_error(weights, "exact/double_backprop_grad_f64_") < 1e-9


def test_the_difference_tends_to_the_exact_norm() -> None:
    """Eq. 6, on a scorer that is smooth but for its kinks."""
    score, _, inputs = golden_score(torch.float64)
    exact = exact_penalty(score, inputs)[1].item()
    errors = [abs(nt_penalty(score, inputs, step_size)[1].item() / exact - 1) for step_size in (1.0, 0.1, 0.01, 1e-5)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4


def test_small_attacks_change_the_score_by_eps_times_the_norm() -> None:
    """Theorem 1: the measured change approaches eps * ||grad f||_1 from FGSM as eps gets small."""
    model = trained_scorer(steps=60).double()
    images = pixels(noisy_gradients(12, seed=9)[0]).double() * 0.8 + 0.1
    norms = gradient_l1(model, images)
    errors = []
    for eps in (1e-2, 1e-3, 1e-6):
        with torch.no_grad():
            change = (model(create_attack("fgsm", eps=eps)(model, images)) - model(images)).abs()
        errors.append(((change / (eps * norms)) - 1).abs().max().item())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), step_size=st.floats(1e-3, 1.0), heads=st.sampled_from([1, 3]))
def test_a_linear_scorer_is_penalised_for_its_norm(seed: int, step_size: float, heads: int) -> None:
    weights = torch.randn(heads, 3 * 8 * 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    inputs = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)

    def score(inputs: Tensor) -> Tensor:
        outputs = weights @ inputs.flatten(1).T
        return outputs if heads > 1 else outputs[0]

    expected = weights[-1].abs().sum() ** 2 / 2
    for penalise in (lambda: nt_penalty(score, inputs, step_size), lambda: exact_penalty(score, inputs)):
        outputs, penalty = penalise()
        torch.testing.assert_close(outputs, score(inputs))
        torch.testing.assert_close(penalty, expected, rtol=1e-6, atol=0)


def test_the_clean_pass_is_shared_and_parameters_get_gradients_from_both_scores() -> None:
    """Gradients as if loss and penalty were computed apart, for one clean forward pass instead of two."""
    model = small_scorer().double().eval()
    images = pixels(noisy_gradients(6)[0]).double()
    inputs, targets = model.normalise(images), torch.linspace(0, 100, 6, dtype=torch.float64)
    calls = []

    def outputs(inputs: Tensor) -> Tensor:
        calls.append(len(inputs))
        return model.outputs(inputs)

    parameters = list(model.parameters())
    found, penalty = nt_penalty(outputs, inputs, 0.01)
    assert calls == [6, 6]
    assert all(parameter.grad is None for parameter in parameters)
    assert not inputs.requires_grad
    shared = torch.autograd.grad((found - targets).abs().mean() + 0.3 * penalty, parameters)
    apart_loss = torch.autograd.grad((model.outputs(inputs) - targets).abs().mean(), parameters)
    apart_penalty = torch.autograd.grad(nt_penalty(model.outputs, inputs, 0.01)[1], parameters)
    for together, loss, penalty_part in zip(shared, apart_loss, apart_penalty, strict=True):
        torch.testing.assert_close(together, loss + 0.3 * penalty_part)


@pytest.mark.parametrize("step_size", [0.0, -0.01, float("nan")])
def test_a_step_must_be_positive(step_size: float) -> None:
    with pytest.raises(ValueError, match="normalised units"):
        nt_penalty(lambda inputs: inputs.sum((1, 2, 3)), torch.zeros(1, 3, 4, 4), step_size)
