"""The attacks give what the original programs gave (origins and tolerances: tests/golden/attacks/README.md)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_scorer import MEAN, STD, Golden, load_golden, network, scorer_weights, to_levels
from torch import Tensor

from trainables.attacks import create_attack
from trainables.attacks.kor import Korhonen, activity_map
from trainables.attacks.uap import train_perturbation
from trainables.ssim import ssim

LOSSES = {"mid": "mid", "mse_released": "mse", "mae_released": "mae_released", "mae_ascend": "mae"}
PERCEPTUAL: dict[str, dict[str, Any]] = {
    "ssim_lam1e6": {},
    "ssim_lam1e4": {"weight": 1e4},
    "linf_lam0": {"constraint": "linf", "weight": 0},
    "lpips_branch_toydist_lam1e6": {"constraint": "lpips"},
    "dists_branch_toydist_lam1e6": {"constraint": "dists_released"},
}

fgsm_golden = load_golden("fgsm")
perceptual_golden = load_golden("perceptual")


@pytest.mark.parametrize("case", fgsm_golden.cases())
@pytest.mark.filterwarnings("ignore:loss")
def test_fgsm_moves_every_pixel_as_the_authors_code(case: str) -> None:
    golden = fgsm_golden
    loss, reference, steps, eps = case.split("/")
    attack = create_attack(
        "fgsm",
        loss=LOSSES[loss],
        reference=reference.removeprefix("y_"),
        steps=int(steps.removeprefix("k")),
        eps=float(eps.removeprefix("eps")),
    )
    adversarial = attack(golden.score, golden.images, mos=torch.tensor(golden["given_mos"]))
    is_null = f"{case}/adv" not in golden.arrays
    expected = golden.images.numpy() if is_null else golden[f"{case}/adv"]
    np.testing.assert_allclose(adversarial.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(golden.score(adversarial).numpy(), golden[f"{case}/score"], atol=1e-4)


def test_the_direction_of_l_mid_can_mirror_the_released_demo() -> None:
    """Some images of the set turn round when the reference score skips the normalisation."""
    golden = fgsm_golden
    clean, raw = golden["clean_score"] <= 50, golden["score_on_unnormalised_input"] <= 50
    assert (clean != raw).any()
    for reference, is_raised in (("clean", clean), ("raw", raw)):
        adversarial = create_attack("fgsm", reference=reference)(golden.score, golden.images)
        change = golden.score(adversarial).numpy() - golden["clean_score"]
        assert ((change > 0) == is_raised).all()


def mean_square(clean: Tensor, other: Tensor) -> Tensor:
    return (clean - other).square().mean((1, 2, 3))


def run_perceptual(golden: Golden, case: str) -> Tensor:
    branch, steps = case.split("/")
    params = PERCEPTUAL[branch] | ({"distance": mean_square} if "toydist" in branch else {})
    noise = torch.tensor(golden["init_noise_over255"])
    attack = create_attack("perceptual", steps=int(steps.removeprefix("k")), start_noise=noise, **params)
    return attack(golden.score, golden.images)


@pytest.mark.parametrize("case", [case for case in perceptual_golden.cases() if not case.endswith("k200")])
def test_perceptual_moves_pixels_as_the_released_code(case: str) -> None:
    golden = perceptual_golden
    adversarial = run_perceptual(golden, case)
    # Where the similarity's gradient and the score's nearly cancel, the sign of a pixel's step is rounding noise: the
    # original itself moves 0.4 % of the pixels otherwise when it is run in float64.
    share = 0.004 if "lam1e4" in case else 1e-4
    assert (np.abs(adversarial.numpy() - golden[f"{case}/adv"]) > 1e-4).mean() <= share
    np.testing.assert_allclose(golden.score(adversarial).numpy(), golden[f"{case}/score"], atol=0.015)
    np.testing.assert_allclose(ssim(golden.images, adversarial).numpy(), golden[f"{case}/ssim_piq"], atol=2e-4)
    replicated = ssim(golden.images, adversarial, "replicate")
    np.testing.assert_allclose(replicated.numpy(), golden[f"{case}/ssim_bundled"], atol=2e-4)


def test_two_hundred_perceptual_steps_have_the_released_scores() -> None:
    golden, case = perceptual_golden, "ssim_lam1e6/k200"
    adversarial = run_perceptual(golden, case)
    np.testing.assert_allclose(golden.score(adversarial).numpy(), golden[f"{case}/score"], atol=1e-3)
    assert np.abs((adversarial * 255).round().numpy() - golden[f"{case}/adv_u8"]).max() <= 1


UAP_TRAINING: dict[str, tuple[str, list[float], float, list[float]]] = {
    "optimized": (
        "3401 4512 1045 5143 5310 3254 3021 3214 3401 0312 0215 4532 3041 1453 4530 "
        "4250 4315 3450 4351 4325 0412 3054 0135 2140 5243 3205 2413 3012 0153 3504",
        [0.5436324, 0.4364160, 0.3252534, 0.2958202],
        2.9005344,
        [-0.0297989, 0.0210637, 0.0305559],
    ),
    "cumulative": (
        " ".join("325143310005414201243501505545"),
        [0.8200001, 0.3376588, 0.3465439, 0.1639423],
        2.2453847,
        [-0.0237928, 0.0070745, 0.0206492],
    ),
}
"""What the public notebooks' loops gave on the golden images and scorer: which images make up each step's batch, the
loss at steps 1, 10, 20 and 30, the perturbation's L2 norm and its value at row 40, column 31."""


@pytest.mark.parametrize("method", UAP_TRAINING)
def test_a_universal_perturbation_is_trained_as_in_the_public_notebooks(method: Any) -> None:
    batches, losses, norm, pixel = UAP_TRAINING[method]
    steps = [fgsm_golden.images[[int(image) for image in batch]] for batch in batches.split()]
    perturbation, found = train_perturbation(fgsm_golden.score, steps, method=method)
    np.testing.assert_allclose([found[step] for step in (0, 9, 19, 29)], losses, atol=1e-6)
    np.testing.assert_allclose(float(perturbation.norm()), norm, rtol=1e-5)
    np.testing.assert_allclose(perturbation[:, 40, 31].numpy(), pixel, atol=1e-6)


def test_the_perceptual_attack_runs_in_a_two_cycle() -> None:
    """With the paper's weight an even number of steps undoes itself: what is left is the start's noise."""
    golden = perceptual_golden
    start, even, odd, longer = (run_perceptual(golden, f"ssim_lam1e6/k{steps}").numpy() for steps in (0, 10, 1, 11))
    assert (np.abs(even - start) < 1e-5).mean() > 0.97
    assert (np.abs(odd - start) > 0.004).mean() > 0.9
    assert (np.abs(longer - odd) < 1e-5).mean() > 0.99


@pytest.fixture(scope="module")
def kor_golden() -> Golden:
    return load_golden("kor")


def substitute_of(golden: Golden) -> Any:
    weights = scorer_weights(golden.arrays, "substitute_")
    return lambda images: 100 * torch.sigmoid((network((images - MEAN) / STD, weights) - 50) / 25)


def test_activity_maps(kor_golden: Golden) -> None:
    maps = activity_map(kor_golden.images)[:, 0]
    np.testing.assert_allclose(maps.numpy(), kor_golden["spatial_map"], atol=1e-9)
    flat = torch.from_numpy(kor_golden["flat_image_u8"]).permute(2, 0, 1)[None] / 255
    np.testing.assert_array_equal(activity_map(flat)[0, 0].numpy(), kor_golden["flat_image_map"])


@pytest.mark.parametrize("adam", ["matlab", "torch"])
@pytest.mark.parametrize("lr", [0.2, 2.0, 5.0])
def test_kor_reaches_the_references_images_and_scores(kor_golden: Golden, adam: Any, lr: float) -> None:
    case = f"{adam}_adam/lr{lr}"
    substitute = substitute_of(kor_golden)
    adversarial = create_attack("kor", lr=lr, adam=adam)(substitute, kor_golden.images)
    # Higher rates diverge in pixels, as the original does between float32 and float64.
    mismatch = (to_levels(adversarial) != kor_golden[f"{case}/adv_u8"]).mean()
    assert mismatch <= (0.01 if lr == 0.2 else 0.1)
    after = substitute(adversarial).numpy() / 100
    np.testing.assert_allclose(after, kor_golden[f"{case}/sub_after_8bit"], atol=2e-3 if lr == 0.2 else 1e-2)


def test_kor_climbs_as_the_reference(kor_golden: Golden) -> None:
    images = kor_golden.images[:2]
    levels = (images * 255).round()
    _, history = Korhonen().climb(substitute_of(kor_golden), levels, activity_map(images).float())
    assert [len(losses) for losses in history] == list(kor_golden["matlab_adam/lr0.2/iterations"][:2])
    np.testing.assert_allclose(np.array(history), kor_golden["matlab_adam/lr0.2/loss_history"][:2], atol=1e-4)
