"""The baselines' losses, against the original's values and by their properties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainables.losses import LOSSES, create_loss

GOLDEN = Path(__file__).parent.parent / "golden" / "models" / "linearityiqa.npz"

TARGETS = torch.tensor([71.0, 12.0, 55.5, 30.0, 93.0])
PREDICTIONS = torch.tensor([60.0, 20.0, 70.0, 31.0, 80.0])


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("single_p1q2", {}),
        ("single_p2q2", {"p": 2}),
        ("single_p1q2_alpha1_0.1", {"alpha": (1, 0.1)}),
        ("single_p1q2_detach", {"detach": True}),
        ("mainpy_default", {}),
        ("mainpy_default_monoreg", {"gamma": 0.1}),
    ],
)
def test_norm_in_norm_is_the_originals(name: str, params: dict[str, Any]) -> None:
    arrays = np.load(GOLDEN)
    predictions = torch.from_numpy(arrays["loss_preds"]).requires_grad_()
    outputs = predictions[-1] if name.startswith("single") else predictions
    loss = create_loss("norm_in_norm", **params)(outputs, torch.from_numpy(arrays["loss_mos"]))
    loss.backward()
    expected = arrays["loss_values_f64"][arrays["loss_names"].tolist().index(name)]
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert predictions.grad is not None
    np.testing.assert_allclose(predictions.grad.numpy(), arrays[f"loss_grad_{name}"], rtol=1e-9, atol=1e-15)


@given(scale=st.floats(0.01, 100), offset=st.floats(-100, 100))
def test_norm_in_norm_sees_neither_scale_nor_offset(scale: float, offset: float) -> None:
    loss = create_loss("norm_in_norm")
    predictions = PREDICTIONS.double()
    assert loss(scale * predictions + offset, TARGETS) == pytest.approx(loss(predictions, TARGETS).item(), abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_perfect_predictions_have_no_loss(name: str) -> None:
    loss = create_loss(name)
    assert loss(TARGETS, TARGETS).item() == pytest.approx(0, abs=1e-6)
    assert loss(TARGETS.expand(3, -1), TARGETS).item() == pytest.approx(0, abs=1e-6)
    assert loss(PREDICTIONS, TARGETS).item() > 0


def test_plain_losses_are_means() -> None:
    assert create_loss("l1")(PREDICTIONS, TARGETS).item() == pytest.approx(np.mean([11, 8, 14.5, 1, 13]))
    squares = create_loss("mse")(torch.stack((PREDICTIONS, TARGETS)), TARGETS)
    assert squares.item() == pytest.approx(np.mean([121, 64, 210.25, 1, 169]) / 2)


def test_monotonicity_penalises_wrong_order_only() -> None:
    def extra(predictions: Tensor) -> float:
        with_order, without = (create_loss("norm_in_norm", gamma=gamma) for gamma in (1.0, 0.0))
        return (with_order(predictions, TARGETS) - without(predictions, TARGETS)).item()

    assert extra(TARGETS**2) == pytest.approx(0, abs=1e-6)
    assert extra(-TARGETS) > 0.1


def test_one_image_has_no_norm_in_norm_loss() -> None:
    prediction = torch.tensor([3.0], requires_grad=True)
    loss = create_loss("norm_in_norm", gamma=0.1)(prediction, torch.tensor([50.0]))
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad is not None and prediction.grad.item() == 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_give_the_same_loss_and_a_finite_gradient(name: str, precision: torch.dtype) -> None:
    outputs = PREDICTIONS.to(precision).requires_grad_()
    loss = create_loss(name)(outputs, TARGETS)
    loss.backward()
    assert loss.item() == pytest.approx(create_loss(name)(PREDICTIONS, TARGETS).item(), rel=0.01)
    assert outputs.grad is not None and torch.isfinite(outputs.grad).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("outputs", "targets"), [((5, 1), (5,)), ((5,), (5, 1)), ((4,), (5,)), ((0,), (0,))])
def test_shapes_that_would_broadcast_are_refused(name: str, outputs: tuple[int, ...], targets: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected outputs of shape \(N,\) or \(K, N\)"):
        create_loss(name)(torch.zeros(outputs), torch.zeros(targets))


def test_wrong_names_and_values_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'mse'"):
        create_loss("mce")
    with pytest.raises(ValueError, match="'l1' has no parameter 'p'; it takes none"):
        create_loss("l1", p=2)
    with pytest.raises(ValueError, match="one weight for each of the 2 outputs, got 3"):
        create_loss("norm_in_norm")(TARGETS.expand(2, -1), TARGETS)
    with pytest.raises(ValueError, match="p and q must be positive"):
        create_loss("norm_in_norm", p=0)(PREDICTIONS, TARGETS)
