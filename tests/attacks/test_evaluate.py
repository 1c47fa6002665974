"""The evaluation protocol: views, aggregation, both attacked scores, and a model that is left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_models import noisy_gradients, pixels, rows_of, small_scorer, trained_scorer

import trainables.memory
from trainables.attacks import create_attack
from trainables.evaluate import clean_scores, evaluate, probe
from trainables.models.scorer import InputSpec
from trainables.objectives import measure
from trainables.record import SCHEMA, read_scores, write_scores
from trainables.regularizer import gradient_l1
from trainables.seeding import derive_seed
from trainables.ssim import ssim
from trainables.views import grid, image_views

LEVELS, QUALITY = noisy_gradients(10, seed=3)
ROWS = rows_of(QUALITY)
MODEL = trained_scorer(steps=60)
FGSM = create_attack("fgsm")


def by_attack(table: pd.DataFrame, attack: str) -> pd.DataFrame:
    return table[table["attack"] == attack].reset_index(drop=True)


def test_rows_say_what_a_hand_made_evaluation_says() -> None:
    table = evaluate(MODEL, LEVELS, ROWS, {"fgsm": FGSM, "noise": create_attack("noise")}, batch_size=4)
    assert list(table.columns) == SCHEMA.names
    assert list(table["attack"]) == ["fgsm"] * 10 + ["noise"] * 10
    images = pixels(LEVELS)
    adversarial = FGSM(MODEL, images)
    with torch.no_grad():
        clean, attacked, on_file = (
            MODEL(batch).numpy() for batch in (images, adversarial, (adversarial * 255).round() / 255)
        )
    found = by_attack(table, "fgsm")
    np.testing.assert_allclose(found["clean_score"], clean, rtol=1e-5)
    np.testing.assert_allclose(found["attacked_score"], attacked, rtol=1e-5)
    np.testing.assert_allclose(found["attacked_score_8bit"], on_file, rtol=1e-5)
    np.testing.assert_allclose(found["gradient_l1"], gradient_l1(MODEL, images), rtol=1e-4)
    np.testing.assert_allclose(found["ssim"], ssim(images, adversarial), rtol=1e-5)
    error = (images - adversarial).double().square().mean((1, 2, 3))
    np.testing.assert_allclose(found["psnr"], 10 * np.log10(1 / error), rtol=1e-5)
    np.testing.assert_allclose(found["max_delta"], 0.005, rtol=1e-4)
    assert (found["seconds"] > 0).all()
    for column in ("image", "content", "split", "mos"):
        assert list(found[column]) == list(ROWS[column])


def test_rounding_to_8_bits_weakens_fgsm_by_about_a_fifth() -> None:
    """0.005 is 1.275 levels, of which a file keeps one."""
    found = evaluate(MODEL, LEVELS, ROWS, {"fgsm": FGSM})
    change, on_file = (
        (found[column] - found["clean_score"]).abs().mean() for column in ("attacked_score", "attacked_score_8bit")
    )
    assert 0.1 < 1 - on_file / change < 0.35


def test_rows_choose_and_order_the_images() -> None:
    turned = ROWS.iloc[[7, 2, 5]]
    whole, some = (by_attack(evaluate(MODEL, LEVELS, rows, {"fgsm": FGSM}), "fgsm") for rows in (ROWS, turned))
    expected = whole.set_index("image").loc[turned["image"]].reset_index()
    compared = some.columns.drop("seconds")
    pd.testing.assert_frame_equal(some[compared], expected[compared], rtol=1e-4)


def test_an_image_score_is_the_mean_over_its_views() -> None:
    """Five stored crops of larger pictures; each crop is attacked by itself and has its own direction."""
    levels, quality = noisy_gradients(3, side=40, seed=11)
    model = trained_scorer(steps=60)
    model.input_spec = InputSpec(height=24, width=24, mode="crop", crops=5)
    table = evaluate(model, levels, rows_of(quality), {"fgsm": FGSM}, batch_size=4)
    for i, row in enumerate(table.itertuples()):
        views = image_views(levels[i], model.input_spec, image=str(row.image)).float() / 255
        assert len(views) == 5
        with torch.no_grad():
            assert row.clean_score == pytest.approx(model(views).mean().item(), rel=1e-5)
            assert row.attacked_score == pytest.approx(model(FGSM(model, views)).mean().item(), rel=1e-5)


def test_crops_follow_from_the_pixels_alone() -> None:
    levels = noisy_gradients(1, side=40)[0][0]
    spec = InputSpec(height=24, width=24, mode="crop", crops=8)
    first, other_name = (image_views(levels, spec, image=image) for image in ("a.png", "b.png"))
    assert torch.equal(first, other_name)
    assert len(torch.unique(first, dim=0)) == 8


@pytest.mark.parametrize(
    ("crops", "slack", "expected"),
    [
        (1, (40, 61), [(20, 30)]),
        (2, (10, 90), [(5, 0), (5, 90)]),
        (4, (10, 12), [(0, 0), (0, 12), (10, 0), (10, 12)]),
        (3, (0, 9), [(0, 0), (0, 4), (0, 9)]),
    ],
)
def test_crops_lie_evenly_from_edge_to_edge(
    crops: int, slack: tuple[int, int], expected: list[tuple[int, int]]
) -> None:
    assert grid(crops, *slack) == expected


def test_a_grid_is_as_square_as_the_image() -> None:
    rows, columns = (sorted(set(axis)) for axis in zip(*grid(25, 288, 288), strict=True))
    assert rows == columns == [0, 72, 144, 216, 288]
    tall = grid(20, 900, 100)
    assert len({left for _, left in tall}) < len({top for top, _ in tall})


def test_records_from_before_the_grid_keep_their_views() -> None:
    """Places by seed and name: those of the old code, drawn with NumPy from the same seed."""
    levels = noisy_gradients(1, side=40)[0][0]
    spec = InputSpec(height=24, width=24, mode="crop", crops=8, names_seed=7)
    corners = np.random.default_rng(derive_seed(7, "views", "a.png")).integers(0, [17, 17], size=(8, 2))
    views = image_views(levels, spec, image="a.png")
    for view, (top, left) in zip(views, corners, strict=True):
        assert torch.equal(view, torch.from_numpy(levels[top : top + 24, left : left + 24]).permute(2, 0, 1))
    assert not torch.equal(views, image_views(levels, spec, image="b.png"))


def test_whole_images_are_resized_once_and_images_of_the_right_size_are_left_alone() -> None:
    levels = noisy_gradients(1, side=24)[0][0]
    for mode in ("crop", "resize"):
        spec = InputSpec(height=24, width=24, mode=mode, crops=4)
        views = image_views(levels, spec, image="a")
        assert torch.equal(views, torch.from_numpy(levels).permute(2, 0, 1)[None])
    resized = image_views(levels, InputSpec(height=12, width=18, mode="resize"), image="a")
    assert resized.shape == (1, 3, 12, 18)
    assert resized.dtype == torch.uint8
    flat = np.full((40, 31, 3), 77, np.uint8)
    assert (image_views(flat, InputSpec(height=12, width=18, mode="resize"), image="a") == 77).all()


def test_an_image_too_small_for_the_crops_is_named() -> None:
    with pytest.raises(ValueError, match=r"image tiny\.png is 20x30 pixels, too small for the model's 24x24 crops"):
        image_views(np.zeros((20, 30, 3), np.uint8), InputSpec(height=24, width=24, mode="crop"), image="tiny.png")


def test_ready_made_adversaries_are_cut_where_the_clean_images_are() -> None:
    """With the clean images as adversaries nothing changes, whatever the crops."""
    levels, quality = noisy_gradients(4, side=40, seed=2)
    model = trained_scorer(steps=20)
    model.input_spec = InputSpec(height=24, width=24, mode="crop", crops=3)
    darker = (levels * 0.9).astype(np.uint8)
    table = evaluate(model, levels, rows_of(quality), {"fgsm": FGSM, "same": levels, "darker": darker}, batch_size=5)
    same, changed = by_attack(table, "same"), by_attack(table, "darker")
    assert (same["attacked_score"] == same["clean_score"]).all()
    assert (same["max_delta"] == 0).all()
    assert (changed["attacked_score"] != changed["clean_score"]).all()
    assert (changed["attacked_score"] == changed["attacked_score_8bit"]).all()
    assert (changed["max_delta"] > 0.05).all()


def test_the_probe_and_clean_scores_agree_with_the_full_evaluation(tmp_path: Path) -> None:
    full = evaluate(MODEL, LEVELS, ROWS, {"fgsm": FGSM})
    complete = measure(full, "test")
    left_out = {name: complete.pop(name) for name in ("ssim", "psnr")}
    assert left_out["psnr"] > 40 and probe(MODEL, LEVELS, ROWS, FGSM) == pytest.approx(complete)
    np.testing.assert_allclose(clean_scores(MODEL, LEVELS, ROWS, batch_size=3), full["clean_score"], rtol=1e-5)
    write_scores(tmp_path / "scores.parquet", full, {})
    assert measure(read_scores(tmp_path / "scores.parquet"), "test") == measure(full, "test")


def test_the_model_is_left_as_it_was() -> None:
    model = small_scorer().train()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    evaluate(model, LEVELS, ROWS, {"fgsm": FGSM, "perceptual": create_attack("perceptual", steps=2)})
    probe(model, LEVELS, ROWS, FGSM)
    clean_scores(model, LEVELS, ROWS)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_batches_shrink_where_memory_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate(MODEL, LEVELS, ROWS, {"fgsm": FGSM})
    monkeypatch.setattr(trainables.memory, "MAX_BATCH_BYTES", 3e5)
    sizes: list[int] = []
    hook = MODEL.register_forward_hook(lambda module, args, output: sizes.append(len(args[0])))
    small = evaluate(MODEL, LEVELS, ROWS, {"fgsm": FGSM})
    hook.remove()
    assert 1 <= max(sizes) < len(ROWS)
    np.testing.assert_allclose(small["attacked_score"], whole["attacked_score"], rtol=1e-4)


def test_the_perceptual_attack_is_recorded_beside_its_own_noise() -> None:
    table = evaluate(MODEL, LEVELS, ROWS, {"fgsm": FGSM, "ssim": create_attack("perceptual", steps=2)})
    assert list(table["attack"].unique()) == ["fgsm", "ssim", "ssim_control"]
    control = by_attack(table, "ssim_control")
    noise = create_attack("perceptual", steps=0)(MODEL, pixels(LEVELS))
    with torch.no_grad():
        np.testing.assert_allclose(control["attacked_score"], MODEL(noise), rtol=1e-5)
    assert "rmse_attacked/ssim_control" in measure(table, "test")


def test_the_label_reaches_attacks_that_refer_to_it() -> None:
    attack = create_attack("fgsm", loss="mae", reference="mos")
    table = evaluate(MODEL, LEVELS, ROWS, {"mae": attack}, batch_size=3)
    assert ((table["attacked_score"] - table["mos"]).abs() > (table["clean_score"] - table["mos"]).abs()).all()


@pytest.mark.parametrize(
    ("rows", "attacks", "message"),
    [
        (ROWS.drop(columns="mos"), {"fgsm": FGSM}, "lack mos"),
        (ROWS.iloc[:0], {"fgsm": FGSM}, "no images"),
        (ROWS, {}, "at least one attack"),
    ],
)
def test_impossible_requests_are_refused(rows: pd.DataFrame, attacks: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(MODEL, LEVELS, rows, attacks)  # type: ignore[arg-type]


def test_a_diverged_model_is_refused() -> None:
    model = small_scorer()
    model.offset.fill_(torch.nan)
    for scored in (lambda: evaluate(model, LEVELS, ROWS, {"fgsm": FGSM}), lambda: clean_scores(model, LEVELS, ROWS)):
        with pytest.raises(ValueError, match="NaN or infinite"):
            scored()


def test_both_directions_are_judged_by_the_image_not_by_its_views() -> None:
    """Views that each took their own way would cancel in the image's mean; an image takes the way that moves it."""
    model = small_scorer(side=16, crops=4)
    levels, quality = noisy_gradients(6, side=24, seed=3)
    attacks = {name: create_attack("apgd", steps=4, restarts=1, direction=name) for name in ("up", "down", "two_sided")}
    table = evaluate(model, levels, rows_of(quality), attacks).set_index(["attack", "image"])
    change = (table["attacked_score"] - table["clean_score"]).unstack("attack")
    further = change["up"].where(change["up"].abs() >= change["down"].abs(), change["down"])
    pd.testing.assert_series_equal(change["two_sided"], further, check_names=False)
    seconds = table["seconds"].unstack("attack")
    assert seconds["two_sided"].mean() > seconds["up"].mean()


def test_an_attack_on_a_ranking_has_a_split_s_images_for_its_set_whatever_the_batch() -> None:
    """Crops, and batches that cut images in two: the choice is made by the images' scores, of each split alone."""
    model = small_scorer(side=16, crops=4)
    levels, quality = noisy_gradients(40, side=24, seed=3)
    rows = rows_of(quality).assign(split=["validation"] * 20 + ["test"] * 20)
    attack = create_attack("rank", eps=0.02, steps=3)
    table = evaluate(model, levels, rows, {"rank": attack}, batch_size=160)
    in_parts = evaluate(model, levels, rows, {"rank": attack}, batch_size=7)
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), in_parts.drop(columns="seconds"), atol=1e-3)
    apart = [
        evaluate(model, levels, rows[rows["split"] == split], {"rank": attack}) for split in ("validation", "test")
    ]
    pd.testing.assert_frame_equal(
        table.drop(columns="seconds"), pd.concat(apart, ignore_index=True).drop(columns="seconds"), atol=1e-3
    )
    found = measure(table, "test", "rank")
    single = evaluate(model, levels, rows, {"apgd": create_attack("apgd", eps=0.02, steps=3, direction="two_sided")})
    assert found["krocc_attacked"] < measure(single, "test", "apgd")["krocc_attacked"]
    assert found["srocc_attacked"] < measure(single, "test", "apgd")["srocc_attacked"]


def test_a_linear_score_changes_as_the_gradient_foretells() -> None:
    """`linear_change` is the gradient times the change, so a linear model's own change, under any attack."""

    class Linear(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.Parameter(torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(0)))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return 0.01 * (inputs * self.weights).sum((1, 2, 3))

    model = small_scorer()
    model.network = Linear()
    table = evaluate(model, LEVELS, ROWS, {name: create_attack(name, eps=0.1) for name in ("fgsm", "noise", "square")})
    change = table["attacked_score"] - table["clean_score"]
    assert change.abs().mean() > 1
    np.testing.assert_allclose(table["linear_change"], change, atol=1e-3)


def test_an_image_can_be_scored_again() -> None:
    """A model that counts its passes into its score is caught by no attack, and by a second look at the same image."""

    class Counting(torch.nn.Module):
        calls = 0

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return inputs.mean((1, 2, 3)) + self.calls

    model = small_scorer()
    model.network = Counting()
    table = evaluate(model, LEVELS, ROWS, {"again": create_attack("again")})
    assert (table["attacked_score"] > table["clean_score"]).all() and (table["max_delta"] == 0).all()
