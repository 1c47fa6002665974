"""Masked gradients are noticed, honest models are not accused."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch
from small_models import noisy_gradients, rows_of, small_scorer, trained_scorer
from torch import Tensor
from torch.autograd.function import FunctionCtx

from trainables.attacks import create_attack
from trainables.attacks.base import Attack
from trainables.audit import audit
from trainables.evaluate import evaluate
from trainables.models.scorer import Scorer
from trainables.views import Images

LEVELS, QUALITY = noisy_gradients(32, seed=21)
HONEST = trained_scorer()


class RandomBackward(torch.autograd.Function):
    """The identity whose gradient is chance: a defence that only looks like one."""

    @staticmethod
    def forward(ctx: FunctionCtx, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(gradients[0].shape, generator=generator)


class Masked(torch.nn.Module):
    def __init__(self, network: torch.nn.Module, mask: Any) -> None:
        super().__init__()
        self.network = network
        self.mask = mask

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(self.mask(inputs))


def masked_scorer(mask: Any) -> Scorer:
    model = small_scorer()
    model.load_state_dict(HONEST.state_dict())
    model.network = Masked(model.network, mask)
    return model


def audited(model: Scorer, **more: Any) -> tuple[pd.DataFrame, list[str]]:
    darker = (LEVELS.astype(int) - 10).clip(0).astype("uint8")
    attacks: dict[str, Attack | Images] = {
        "fgsm": create_attack("fgsm"),
        "noise": create_attack("noise"),
        "ifgsm10": create_attack("ifgsm", alpha=0.001),
        "apgd": create_attack("apgd", steps=10, restarts=2),
        "transfer": create_attack("transfer", source=HONEST),
        "uap": darker,
    }
    table = evaluate(model, LEVELS, rows_of(QUALITY), attacks)
    return table, [flag.attack for flag in audit(table, "test", **more)]


def test_an_honest_model_is_not_flagged() -> None:
    _, flagged = audited(HONEST)
    assert flagged == []


def test_a_random_gradient_is_flagged_by_noise_and_transferred_images() -> None:
    table, flagged = audited(masked_scorer(RandomBackward.apply))
    assert {"noise", "transfer"} <= set(flagged)
    messages = {flag.attack: flag.message for flag in audit(table, "test")}
    assert "random noise does nearly as well" in messages["noise"]


def test_a_zero_gradient_is_flagged() -> None:
    """Rounding inside the model: FGSM finds no direction at all, and images from elsewhere still work."""
    _, flagged = audited(masked_scorer(lambda inputs: (inputs * 1000).round() / 1000))
    assert "fgsm" in flagged
    assert "transfer" in flagged


def test_more_budget_is_not_mistaken_for_masking() -> None:
    """Fifty times the budget moves an honest score much further than FGSM did, and proves nothing."""
    table, _ = audited(HONEST)
    strong = create_attack("fgsm", eps=0.1, alpha=0.1)
    stronger = evaluate(HONEST, LEVELS, rows_of(QUALITY), {"uap": strong})
    table = pd.concat([table[table["attack"] == "fgsm"], stronger])
    mean = (table["attacked_score"] - table["clean_score"]).abs().groupby(table["attack"]).mean()
    assert mean["uap"] > 2 * mean["fgsm"]
    assert audit(table, "test") == []


def test_labels_can_be_named() -> None:
    table, _ = audited(masked_scorer(RandomBackward.apply))
    renamed = table.replace({"attack": {"noise": "control"}})
    assert "control" not in [flag.attack for flag in audit(renamed, "test")]
    assert "control" in [flag.attack for flag in audit(renamed, "test", names={"control": "noise"})]


def test_the_claim_must_be_in_the_table() -> None:
    table, _ = audited(HONEST)
    with pytest.raises(ValueError, match="attack 'fgsm' to audit"):
        audit(table[table["attack"] != "fgsm"], "test")
