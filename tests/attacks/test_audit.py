"""Masked gradients are noticed, honest models are not accused."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pandas as pd
import pytest
import torch
from small_models import noisy_gradients, pixels, rows_of, trained_scorer
from torch import Tensor

from benchmarks.audit.masks import MASKS, flipped
from trainables.attacks import create_attack
from trainables.attacks.base import Attack
from trainables.audit import Flag, audit
from trainables.evaluate import evaluate
from trainables.models.scorer import Scorer
from trainables.views import Images

LEVELS, QUALITY = noisy_gradients(32, seed=21)
HONEST = trained_scorer()


NAMES = {"wide_check": "ifgsm", "wider_check": "ifgsm", "slope_check": "fgsm"}


@cache
def table_of(mask: str | None) -> pd.DataFrame:
    """The honest or masked model's score table under what a suite has for the audit."""
    model = MASKS[mask](HONEST) if mask else HONEST
    darker = (LEVELS.astype(int) - 10).clip(0).astype("uint8")
    attacks: dict[str, Attack | Images] = {
        "fgsm": create_attack("fgsm"),
        "noise": create_attack("noise"),
        "ifgsm10": create_attack("ifgsm", alpha=0.001),
        "apgd": create_attack("apgd", steps=10, restarts=2),
        "square": create_attack("square", queries=40),
        "transfer": create_attack("transfer", source=HONEST),
        "uap": darker,
        "again": create_attack("again"),
        "slope_check": create_attack("fgsm", eps=5e-4),
        "wide_check": create_attack("ifgsm", eps=0.05, alpha=0.01),
        "wider_check": create_attack("ifgsm", eps=0.3, alpha=0.06),
    }
    torch.manual_seed(0)  # for the masks that draw
    return evaluate(model, LEVELS, rows_of(QUALITY), attacks)


def audited(mask: str | None = None, **more: Any) -> tuple[pd.DataFrame, list[Flag]]:
    table = table_of(mask).copy()
    return table, audit(table, "test", names=NAMES, **more)


@pytest.mark.parametrize("seed", [0, 1])
def test_an_honest_model_is_not_flagged(seed: int) -> None:
    _, flags = audited(seed=seed)
    assert flags == []


@pytest.mark.parametrize("mask", MASKS)
def test_a_masked_model_is_flagged(mask: str) -> None:
    _, flags = audited(mask)
    assert flags, mask


@pytest.mark.parametrize(
    ("mask", "rule"),
    [
        ("sign flipped at 20 %", "small step"),
        ("random gradient", "noise"),
        ("random gradient", "no gradient needed"),
        ("scores in steps of 2", "zero gradient"),
        ("scores in steps of 2, straight-through", "small step"),
        ("chance of 2 points on scores", "scored again"),
        ("chance of 1 point, derived from the image", "small step"),
        ("JPEG in front, no gradient", "zero gradient"),
    ],
)
def test_a_mask_breaks_the_rule_that_was_made_for_it(mask: str, rule: str) -> None:
    _, flags = audited(mask)
    assert rule in {flag.rule for flag in flags}, [flag.message for flag in flags]


def test_a_masked_gradient_changes_no_score() -> None:
    images = pixels(LEVELS)
    for share in (0.1, 0.5):
        assert torch.equal(flipped(share)(HONEST)(images), HONEST(images))


def test_one_s_own_words_say_what_was_seen() -> None:
    _, flags = audited("random gradient")
    messages = {flag.attack: flag.message for flag in flags}
    assert "random noise does nearly as well" in messages["noise"]
    assert "it needs no gradient of the model and moves scores" in messages["transfer"]


def test_a_wider_budget_has_to_move_scores_further() -> None:
    """As if the attack lost its way: under a budget that spoils images it moves nothing."""
    table, _ = audited()
    is_wide = table["attack"].isin(("wide_check", "wider_check"))
    table.loc[is_wide, "attacked_score"] = table["clean_score"] + 0.1
    found = {flag.attack: flag.message for flag in audit(table, "test", names=NAMES) if flag.rule == "wider budget"}
    assert "moves scores less" in found["wide_check"] and "the attack is led astray" in found["wider_check"]


def test_scores_may_not_move_much_further_than_the_gradient_foretells() -> None:
    """As on a plateau, whose gradient is small at the clean image alone."""
    table, _ = audited()
    flatter = table.assign(linear_change=0.3 * table["linear_change"])
    flags = audit(flatter[flatter["attack"] == "fgsm"], "test")
    assert [flag.rule for flag in flags] == ["beyond linear"]
    assert "its norm is no measure of robustness" in flags[0].message


def test_photographs_are_resampled_with_all_their_versions() -> None:
    """Eight photographs of four versions each: two that misbehave are a chance of the draw, not eight witnesses."""
    table, _ = audited()
    photographs = table["image"].str.removesuffix(".png").astype(int) // 4
    is_odd = (table["attack"] == "noise") & (photographs < 2)
    of_fgsm = (table["attacked_score"] - table["clean_score"])[table["attack"] == "fgsm"].abs().mean()
    table.loc[is_odd, "attacked_score"] = table["clean_score"] + 6 * of_fgsm
    by_image = table.assign(content=table["image"])
    by_photograph = table.assign(content=photographs.astype(str))
    assert "noise" in {flag.rule for flag in audit(by_image, "test", names=NAMES)}
    assert "noise" not in {flag.rule for flag in audit(by_photograph, "test", names=NAMES)}


class Wave(torch.nn.Module):
    """20 points times a sine of the pixels' signed sum, whose period is what one step of FGSM adds to that sum."""

    def __init__(self, eps: float, model: Scorer) -> None:
        super().__init__()
        signs = torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(0)).sign()
        self.weights = signs * model.std  # of inputs that are divided by it
        self.period = eps * signs.numel()

    def forward(self, inputs: Tensor) -> Tensor:
        return 20 / 25 * torch.sin(2 * torch.pi / self.period * (inputs * self.weights).sum((1, 2, 3)))


def test_robust_to_one_step_alone_is_called_catastrophic_overfitting() -> None:
    """What training on FGSM can end in: its own step changes nothing, exactly, and half of it a lot."""
    model = copy.deepcopy(HONEST)
    model.network = Wave(0.005, model)
    middle = 64 + LEVELS // 2  # no pixel meets the end of its range
    attacks = {"fgsm": create_attack("fgsm"), "ifgsm": create_attack("ifgsm", alpha=0.0005)}
    table = evaluate(model, middle, rows_of(QUALITY), attacks)
    change = (table["attacked_score"] - table["clean_score"]).abs().groupby(table["attack"]).mean()
    assert change["fgsm"] < 0.1 and change["ifgsm"] > 5
    said = {flag.rule: flag.message for flag in audit(table, "test", trained_on_one_step=True)}
    assert "catastrophic overfitting: training on one-step attacks" in said["catastrophic overfitting"]
    assert "more steps" in {flag.rule for flag in audit(table, "test")}, "of a model that was trained otherwise"
    _, flags = audited(trained_on_one_step=True)
    assert flags == [], "an honest model is not accused of it"


def test_an_older_table_is_judged_by_what_it_has() -> None:
    table, _ = audited("random gradient")
    older = table.assign(linear_change=float("nan"))
    assert {"noise", "no gradient needed"} <= {flag.rule for flag in audit(older, "test", names=NAMES)}


def test_more_budget_is_not_mistaken_for_masking() -> None:
    """Fifty times the budget moves an honest score much further than FGSM did, and proves nothing."""
    table, _ = audited()
    strong = create_attack("fgsm", eps=0.1, alpha=0.1)
    stronger = evaluate(HONEST, LEVELS, rows_of(QUALITY), {"uap": strong})
    table = pd.concat([table[table["attack"] == "fgsm"], stronger])
    mean = (table["attacked_score"] - table["clean_score"]).abs().groupby(table["attack"]).mean()
    assert mean["uap"] > 2 * mean["fgsm"]
    assert audit(table, "test") == []


def test_labels_can_be_named() -> None:
    table, _ = audited("random gradient")
    renamed = table.replace({"attack": {"noise": "control"}})
    assert "control" not in [flag.attack for flag in audit(renamed, "test")]
    assert "control" in [flag.attack for flag in audit(renamed, "test", names={"control": "noise"})]


def test_the_claim_must_be_in_the_table() -> None:
    table, _ = audited()
    with pytest.raises(ValueError, match="attack 'fgsm' to audit"):
        audit(table[table["attack"] != "fgsm"], "test")
