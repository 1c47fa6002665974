"""What every attack owes its caller, and the known traps of the originals."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_models import noisy_gradients, pixels, small_scorer, trained_scorer
from torch import Tensor

from trainables.attacks import ATTACKS, check_trial_attacks, create_attack, needs_source
from trainables.attacks.base import Attack, clean_pass
from trainables.attacks.constraint import round_to_8_bit
from trainables.attacks.kor import Korhonen
from trainables.attacks.mad import TOLERANCE
from trainables.attacks.rank import discordant_pairs, most_discordant
from trainables.attacks.square import squares
from trainables.attacks.stadv import warp
from trainables.metrics import krocc
from trainables.models.scorer import Scorer
from trainables.ssim import ssim

LEVELS, QUALITY = noisy_gradients(12, seed=5)
IMAGES = pixels(LEVELS)
MODEL = trained_scorer()
OTHER = small_scorer(seed=1).eval()
BOUNDED = ("fgsm", "ifgsm", "noise", "apgd", "square", "transfer", "rank", "rank_square", "mad")
DIRECTED = ("fgsm", "ifgsm", "apgd", "square", "stadv", "transfer", "mad")


def attack_by_name(name: str, **params: Any) -> Attack:
    """Every attack of the registry, short enough for a test."""
    own: dict[str, dict[str, Any]] = {
        "perceptual": {"steps": 3},
        "uap": {"perturbation": 0.1 * torch.sin(torch.arange(3 * 10 * 7.0)).view(3, 10, 7)},
        "apgd": {"steps": 6, "restarts": 2},
        "square": {"queries": 12},
        "transfer": {"source": MODEL},
        "rank": {"steps": 6, "levels": 2},
        "rank_square": {"queries": 12, "levels": 2},
        "mad": {"source": OTHER, "steps": 6},
    }
    return create_attack(name, **(own.get(name, {}) | params))


def change(attack: Attack, model: Scorer = MODEL) -> Tensor:
    with torch.no_grad():
        return (model(attack(model, IMAGES)) - model(IMAGES)).abs()


@pytest.mark.parametrize("name", ATTACKS)
def test_results_are_images_and_do_not_depend_on_the_batch(name: str) -> None:
    # In float64, so that no near-zero gradient changes its sign with the order of a batch's sums.
    model, images = copy.deepcopy(MODEL).double(), pixels(LEVELS[:6]).double()
    source = copy.deepcopy(OTHER).double() if name == "mad" else model
    attack = attack_by_name(name, **({"source": source} if needs_source({"name": name}) else {}))
    chosen = attack(model, images)
    assert chosen.shape == images.shape
    assert not chosen.requires_grad
    assert 0 <= chosen.min() <= chosen.max() <= 1

    def candidates(batch: Tensor) -> Tensor:
        return torch.stack(list(attack.candidates(model, batch)))

    together = candidates(images)
    assert torch.equal(together, images.expand_as(together)) == (name == "again")
    alone = torch.cat([candidates(image[None]) for image in images], dim=1)
    turned = candidates(images.flip(0)).flip(1)
    for other in (alone, turned):
        assert ((together - other).abs() > 1e-6).double().mean() < 1e-3


@pytest.mark.parametrize("name", ATTACKS)
def test_the_model_is_left_as_it_was(name: str) -> None:
    model = small_scorer()
    model.train()
    network: Any = model.network
    network.head.eval()
    network.features[0].weight.requires_grad_(False)
    network.head[1].bias.grad = torch.ones(1)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    learning = [parameter.requires_grad for parameter in model.parameters()]
    attack_by_name(name)(model, IMAGES[:4])
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == learning
    grads = [parameter.grad for parameter in model.parameters()]
    assert grads[-1] is not None and grads[-1].item() == 1
    assert all(grad is None for grad in grads[:-1])


@pytest.mark.parametrize("name", ATTACKS)
def test_a_constant_score_gives_no_nan(name: str) -> None:
    constants = {
        "ignoring its input": lambda images: torch.full((len(images),), 50.0),
        "with zero gradient": lambda images: images.sum((1, 2, 3)) * 0 + 50,
    }
    for score in constants.values():
        params = {"source": score} if needs_source({"name": name}) else {}
        adversarial = attack_by_name(name, **params)(score, IMAGES[:3])
        assert torch.isfinite(adversarial).all()
        if name in ("fgsm", "ifgsm", "kor", "transfer", "rank", "rank_square", "mad"):
            assert torch.equal(adversarial, IMAGES[:3])


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(BOUNDED),
    eps=st.floats(1e-3, 1.0),
    alpha=st.floats(1e-4, 1.0),
    seed=st.integers(0, 1000),
)
def test_the_budget_holds(name: str, eps: float, alpha: float, seed: int) -> None:
    params: dict[str, Any] = {"eps": eps}
    if name in ("fgsm", "ifgsm"):
        params["alpha"] = alpha
    if name == "transfer":
        params = {"attack": create_attack("ifgsm", eps=eps, alpha=alpha)}
    images = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(seed)).round(decimals=1)
    adversarial = attack_by_name(name, **params)(MODEL, images)
    assert 0 <= adversarial.min() <= adversarial.max() <= 1
    assert (adversarial - images).abs().max() <= eps + 1e-6
    on_file = round_to_8_bit(images)
    rounded = round_to_8_bit(attack_by_name(name, **params)(MODEL, on_file))
    assert (rounded - on_file).abs().max() <= eps + 0.5 / 255 + 1e-6


@settings(max_examples=25, deadline=None)
@given(eps=st.floats(1e-3, 0.2), alpha=st.floats(1e-3, 0.2))
def test_one_step_of_fgsm_moves_pixels_by_the_smaller_of_alpha_and_eps(eps: float, alpha: float) -> None:
    clean = clean_pass(MODEL, IMAGES)
    adversarial = create_attack("fgsm", eps=eps, alpha=alpha)(MODEL, IMAGES)
    moved = (adversarial - IMAGES).abs()
    step = min(alpha, eps)
    is_free = (torch.minimum(IMAGES, 1 - IMAGES) >= step) & (clean.gradient != 0)
    torch.testing.assert_close(moved[is_free], torch.full_like(moved[is_free], step), atol=1e-6, rtol=0)
    assert (moved[clean.gradient == 0] == 0).all()


def linear_score(weights: Tensor, offset: float = 0.0) -> Any:
    return lambda images: (images * weights).sum((1, 2, 3)) + offset


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), eps=st.floats(1e-3, 0.2), offset=st.sampled_from([0.0, 100.0]))
def test_fgsm_is_optimal_on_a_linear_scorer(seed: int, eps: float, offset: float) -> None:
    """Theorem 1: no change of the budget moves a linear score by more than eps times the gradient's L1 norm."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(3, 12, 12, generator=generator)
    images = 0.3 + 0.4 * torch.rand(4, 3, 12, 12, generator=generator)
    score = linear_score(weights, offset)
    change = score(create_attack("fgsm", eps=eps, alpha=eps)(score, images)) - score(images)
    optimum = eps * weights.abs().sum()
    torch.testing.assert_close(change.abs(), optimum.expand(4), rtol=1e-3, atol=1e-3)
    is_raised = score(images) <= 50
    assert ((change > 0) == is_raised).all()


def test_a_score_of_exactly_fifty_is_raised() -> None:
    images = torch.full((1, 3, 12, 12), 0.5)
    weights = torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(0)).sign()
    score = lambda batch: ((batch - 0.5) * weights).sum((1, 2, 3)) + 50  # noqa: E731
    assert score(images).item() == 50
    assert score(create_attack("fgsm")(score, images)).item() > 50


def test_alpha_does_not_matter_to_one_step_beyond_eps() -> None:
    first, second = (create_attack("fgsm", alpha=alpha)(MODEL, IMAGES) for alpha in (0.005, 0.7))
    assert torch.equal(first, second)


def test_strength_order_on_a_trained_model() -> None:
    noise, square, more_square, fgsm, ifgsm, apgd = (
        change(attack_by_name(name, **params)).mean().item()
        for name, params in (
            ("noise", {}),
            ("square", {"queries": 50}),
            ("square", {"queries": 300}),
            ("fgsm", {}),
            ("ifgsm", {"alpha": 0.001}),
            ("apgd", {"steps": 20, "restarts": 3}),
        )
    )
    assert noise < square < more_square < fgsm <= ifgsm <= apgd and 5 * noise < fgsm


def test_square_moves_a_score_that_has_no_gradient() -> None:
    """Four colour means: random squares reach half of what the budget allows, and more with more queries."""

    def stepped(images: Tensor) -> Tensor:
        quarters = torch.nn.functional.adaptive_avg_pool2d(images, 2).detach()
        return 20 + (quarters * torch.tensor([1.0, -1.0, 1.0]).view(3, 1, 1)).sum((1, 2, 3))

    images = 0.3 + 0.4 * torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    found, longer = (
        stepped(create_attack("square", eps=0.05, queries=queries)(stepped, images)) - stepped(images)
        for queries in (300, 600)
    )
    optimum = 0.05 * 3 * 4
    assert (found > 0.4 * optimum).all()
    assert (longer > found).all() and (longer <= optimum + 1e-4).all()


def kendall(reference: Tensor, compared: Tensor) -> float:
    return krocc(reference.detach().numpy(), compared.detach().numpy())


def test_rank_attacks_break_the_order_more_than_attacks_on_each_image() -> None:
    """Measured on the ranking: the set's choice beats any direction, queries alone do some of it, noise nothing."""
    levels, quality = noisy_gradients(40, seed=9)
    images, eps = pixels(levels), 0.02
    mos, clean = torch.from_numpy(quality), MODEL(images)
    entries: dict[str, dict[str, Any]] = {
        "rank": {"steps": 10},
        "rank_square": {"queries": 60},
        "apgd": {"steps": 10, "restarts": 1},
        "ifgsm": {"alpha": 0.004, "direction": "up"},
        "noise": {},
    }
    to_clean = {
        name: kendall(clean, MODEL(create_attack(name, eps=eps, **params)(MODEL, images)))
        for name, params in entries.items()
    }
    assert to_clean["rank"] < to_clean["apgd"] - 0.1 and to_clean["rank"] < to_clean["ifgsm"] - 0.1
    assert to_clean["rank"] < to_clean["rank_square"] < to_clean["noise"] - 0.02
    coarse = create_attack("rank", eps=eps, steps=10, levels=1)
    assert to_clean["rank"] <= kendall(clean, MODEL(coarse(MODEL, images)))
    informed = create_attack("rank", eps=eps, steps=10, reference="mos")
    assert kendall(mos, MODEL(informed(MODEL, images, mos=mos))) <= kendall(
        mos, MODEL(create_attack("rank", eps=eps, steps=10)(MODEL, images))
    )
    with pytest.raises(ValueError, match="one MOS per image"):
        informed(MODEL, images)


@pytest.mark.parametrize("gap", [1.9, 2.1])
def test_two_images_change_places_where_the_budget_allows_it(gap: float) -> None:
    """A linear score moves by eps times the gradient's L1 norm, so two images meet at twice that and no further."""
    weights = torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(0))
    eps, reach = 0.05, 0.05 * float(weights.abs().sum())
    images = torch.full((2, 3, 12, 12), 0.5)
    images[1] += gap * reach / float(weights.square().sum()) * weights
    score = linear_score(weights)
    adversarial = create_attack("rank", eps=eps, steps=3)(score, images)
    before, after = score(images), score(adversarial)
    assert before[1] > before[0]
    if gap > 2:
        assert torch.equal(adversarial, images), "nothing is gained, so nothing is changed"
    else:
        torch.testing.assert_close(after - before, torch.tensor([reach, -reach]), rtol=1e-3, atol=1e-3)


def test_the_choice_of_a_set_is_close_to_the_best_there_is() -> None:
    """All combinations of seven images' three scores, forty times; an order is turned round where it can be."""
    random, reached, possible = np.random.default_rng(0), 0, 0
    for _ in range(40):
        order, reach = random.normal(size=7), random.uniform(0.2, 1, 7)
        found = np.stack([order, order + reach, order - reach])
        chosen = most_discordant(order, found)
        reached += discordant_pairs(order, found[chosen, np.arange(7)])
        every = np.array(list(itertools.product(range(3), repeat=7)))
        possible += max(discordant_pairs(order, found[one, np.arange(7)]) for one in every)
    assert reached > 0.97 * possible
    order = np.arange(20.0)
    anywhere = np.tile(np.arange(20.0)[:, None], (1, 20))
    assert discordant_pairs(order, anywhere[most_discordant(order, anywhere), np.arange(20)]) == 190
    assert discordant_pairs(np.array([1.0, 1.0, 2.0]), np.array([3.0, 2.0, 1.0])) == 2, "a tie is no order"


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), eps=st.floats(1e-3, 0.2))
def test_mad_is_optimal_between_two_linear_scorers(seed: int, eps: float) -> None:
    """By duality the largest change of one score that keeps another is eps times the least L1 norm of w - b v."""
    generator = torch.Generator().manual_seed(seed)
    weights, held = torch.randn(2, 3, 12, 12, generator=generator)
    images = 0.3 + 0.4 * torch.rand(3, 3, 12, 12, generator=generator)
    score, other = linear_score(weights), linear_score(held)
    attack = create_attack("mad", source=other, eps=eps, alpha=2 * eps, steps=2, direction="up")
    adversarial = attack(score, images)
    ratios = (weights / held).flatten()
    optimum = eps * min(float((weights - ratio * held).abs().sum()) for ratio in ratios)
    torch.testing.assert_close(score(adversarial) - score(images), torch.full((3,), optimum), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(other(adversarial), other(images), rtol=0, atol=1e-2)


@pytest.mark.parametrize("hold", ["source", "mse", "ssim"])
def test_mad_moves_a_score_while_the_other_measure_stays(hold: Any) -> None:
    up, down = (
        create_attack("mad", source=OTHER, hold=hold, eps=0.02, alpha=0.004, direction=direction)(MODEL, IMAGES)
        for direction in ("up", "down")
    )
    measures: dict[str, Any] = {
        "source": OTHER,
        "mse": lambda images: -10 * (images - IMAGES).square().mean((1, 2, 3)).log10(),
        "ssim": lambda images: ssim(IMAGES, images),
    }
    measure = measures[hold]
    with torch.no_grad():
        assert (MODEL(up) - MODEL(down)).mean() > 3
        assert (MODEL(up) > MODEL(down)).all()
        assert ((measure(up) - measure(down)).abs() <= 2 * TOLERANCE[hold] + 1e-4).all()


def test_square_asks_for_no_gradient_and_as_many_scores_as_it_says() -> None:
    asked: list[bool] = []

    def counted(images: Tensor) -> Tensor:
        asked.append(torch.is_grad_enabled() or images.requires_grad)
        return images.mean((1, 2, 3)) * 100

    create_attack("square", queries=7)(counted, IMAGES)
    assert asked == [False] * (1 + 7)


def test_a_flow_moves_pixels_and_not_their_values() -> None:
    """One pixel to the left is the neighbour's value; half a pixel is the mean of two; the edge repeats."""
    flow = torch.zeros(len(IMAGES), 2, 24, 24)
    torch.testing.assert_close(warp(IMAGES, flow), IMAGES)
    flow[:, 0] = 1.0
    torch.testing.assert_close(warp(IMAGES, flow)[..., :-1], IMAGES[..., 1:])
    torch.testing.assert_close(warp(IMAGES, flow)[..., -1], IMAGES[..., -1])
    flow[:, 0], flow[:, 1] = 0.0, -0.5
    torch.testing.assert_close(warp(IMAGES, flow)[..., 1:, :], (IMAGES[..., 1:, :] + IMAGES[..., :-1, :]) / 2)


def test_moved_pixels_stay_between_their_neighbours() -> None:
    """Not Linf-bounded, but a shift of less than a pixel makes no value that was not there; flat images stay flat."""
    adversarial = create_attack("stadv", pixels=0.9, alpha=0.5)(MODEL, IMAGES)
    highest = torch.nn.functional.max_pool2d(IMAGES, 3, 1, 1)
    lowest = -torch.nn.functional.max_pool2d(-IMAGES, 3, 1, 1)
    assert (adversarial <= highest + 1e-5).all() and (adversarial >= lowest - 1e-5).all()
    weak, strong = (change(create_attack("stadv", pixels=pixels)).mean() for pixels in (0.05, 0.3))
    assert 0.1 < weak < strong
    flat = torch.full((2, 3, 24, 24), 0.4)
    torch.testing.assert_close(create_attack("stadv")(MODEL, flat), flat)


def test_a_square_lies_where_its_place_says() -> None:
    images = torch.zeros(3, 3, 5, 8)
    inside = squares(torch.tensor([[0.0, 0.0], [0.999999, 0.999999], [0.4, 0.5]], dtype=torch.float64), 3, images)
    assert inside.shape == (3, 1, 5, 8) and inside.sum((1, 2, 3)).tolist() == [9, 9, 9]
    assert inside[0, 0, :3, :3].all() and inside[1, 0, 2:, 5:].all() and inside[2, 0, 1:4, 3:6].all()


@pytest.mark.parametrize("name", DIRECTED)
def test_a_direction_can_be_chosen(name: str) -> None:
    """Up raises, down lowers, `mid` is one of them by the clean score, and both sides are never weaker than either."""
    stronger: dict[str, dict[str, Any]] = {"square": {"queries": 60}, "ifgsm": {"alpha": 0.001}}
    params = stronger.get(name, {})
    up, down, mid, both = (
        MODEL(attack_by_name(name, direction=direction, **params)(MODEL, IMAGES)).detach() - MODEL(IMAGES).detach()
        for direction in ("up", "down", "mid", "two_sided")
    )
    can_do_both = name not in ("square", "stadv")  # few queries may fail, and moving pixels blurs away what is seen
    assert (up > down).all() and (((up > 0) & (down < 0)).all() or not can_do_both)
    is_raised = MODEL(IMAGES).detach() <= 50
    torch.testing.assert_close(mid, torch.where(is_raised, up, down))
    torch.testing.assert_close(both.abs(), torch.maximum(up.abs(), down.abs()))
    assert (both.abs() > mid.abs() + 1e-3).any(), "the published direction is not the further one for every image"


def test_apgd_keeps_its_best_iterate() -> None:
    """Never weaker than FGSM on any image, and never weaker with more restarts."""
    fgsm = change(create_attack("fgsm"))
    once, thrice = (change(create_attack("apgd", steps=8, restarts=restarts)) for restarts in (1, 3))
    assert (once >= fgsm - 1e-4).all()
    assert (thrice >= once - 1e-4).all()
    assert thrice.mean() > fgsm.mean()


def test_a_clean_pass_made_before_gives_the_same() -> None:
    clean = clean_pass(MODEL, IMAGES)
    for name in ("fgsm", "ifgsm", "apgd", "perceptual"):
        attack = attack_by_name(name)
        assert torch.equal(attack(MODEL, IMAGES, clean=clean), attack(MODEL, IMAGES))


@pytest.mark.parametrize("loss", ["mae", "mse", "mae_released"])
@pytest.mark.parametrize("steps", [1, 5])
def test_distance_losses_warn_and_stay_where_they_have_no_gradient(loss: str, steps: int) -> None:
    """The originals take a full step along rounding noise here if the clean score comes from another batch."""
    with pytest.warns(UserWarning, match="no gradient at the clean image"):
        adversarial = create_attack("fgsm", loss=loss, steps=steps)(MODEL, IMAGES)
    assert torch.equal(adversarial, IMAGES)


def test_the_label_can_be_the_reference() -> None:
    mos = torch.from_numpy(QUALITY).float()
    attack = create_attack("fgsm", loss="mae", reference="mos")
    with torch.no_grad():
        before, after = (MODEL(images) - mos for images in (IMAGES, attack(MODEL, IMAGES, mos=mos)))
    assert (after.abs() > before.abs()).all()
    with pytest.raises(ValueError, match="one MOS per image"):
        attack(MODEL, IMAGES)


def test_the_best_perceptual_iterate_is_the_stronger_attack() -> None:
    last, best, longer = (
        change(create_attack("perceptual", weight=1e3, steps=steps, best_iterate=keeps))
        for steps, keeps in ((6, False), (6, True), (11, True))
    )
    assert (best >= last - 1e-4).all()
    assert (best > last + 1e-2).any()
    assert (longer >= best - 1e-4).all()


def test_a_heavy_weight_leaves_the_perceptual_attack_with_its_noise() -> None:
    """What looks like robustness is the control's score change, so both are to be shown."""
    control, attacked = (create_attack("perceptual", weight=1e9, steps=steps)(MODEL, IMAGES) for steps in (0, 10))
    assert ((control - IMAGES) * 255).round().unique().tolist() == [-1.0, 0.0]
    assert ((attacked - control).abs() < 1e-4).float().mean() > 0.9


def test_the_perceptual_weight_means_what_it_means_on_the_score_s_scale() -> None:
    """1e6 on scores in 0..1 is 1e10 on 0..100: the score's term goes with the scale squared."""

    def small(images: Tensor) -> Tensor:
        return MODEL(images) / 128  # a power of two, so that nothing is rounded otherwise

    weight = 1e3
    expected = create_attack("perceptual", weight=weight, steps=6)(MODEL, IMAGES)
    again = create_attack("perceptual", weight=weight / 128**2, steps=6)(small, IMAGES)
    torch.testing.assert_close(again, expected, atol=1e-4, rtol=0)
    start = create_attack("perceptual", steps=0)(MODEL, IMAGES)
    left_alone = create_attack("perceptual", weight=weight, steps=6)(small, IMAGES)
    moved, unmoved = ((MODEL(images) - MODEL(start)).abs().max() for images in (again, left_alone))
    assert unmoved < moved / 10


def test_perceptual_corners_carry_only_the_noise() -> None:
    control, attacked = (create_attack("perceptual", weight=0, steps=steps)(MODEL, IMAGES) for steps in (0, 4))
    for corner in (slice(None, 5), slice(-5, None)):
        assert torch.equal(control[..., corner, corner], attacked[..., corner, corner])
    assert not torch.equal(control[..., :5, -5:], attacked[..., :5, -5:])


def test_the_intended_dists_constraint_rewards_similarity() -> None:
    def mean_square(clean: Tensor, other: Tensor) -> Tensor:
        return (clean - other).square().mean((1, 2, 3))

    intended, released = (
        create_attack("perceptual", constraint=constraint, distance=mean_square, weight=1e9, steps=8)(MODEL, IMAGES)
        for constraint in ("dists", "dists_released")
    )
    assert (intended - IMAGES).abs().mean() < 0.01 < (released - IMAGES).abs().mean()


@pytest.mark.parametrize("constraint", ["lpips", "dists"])
def test_missing_metric_weights_are_named(constraint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=rf"{constraint}_weights\.pt and vgg16-397923af\.pth in {tmp_path}"):
        create_attack("perceptual", constraint=constraint, steps=1)(MODEL, IMAGES)


class ScriptedScore:
    """Image 0 always improves, image 1 never after its first step, image 2 not from call 30 on.

    Images that have stopped are not asked for again, so the script says who is left.
    """

    def __init__(self) -> None:
        self.call = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.call += 1
        improving = 0.1 * self.call
        scores = [improving]
        if self.call <= 19:
            scores.append(1.0 if self.call == 1 else 0.0)
        if self.call <= 31:
            scores.append(improving if self.call < 30 else 0.0)
        return torch.tensor(scores) + 0 * images.sum((1, 2, 3))


def test_kor_stops_each_image_when_it_no_longer_improves() -> None:
    """At least 19 steps, at most 99; from step 20 on, two misses in a row end an image."""
    levels = torch.full((3, 3, 8, 8), 100.0)
    _, history = Korhonen(lr=1.0).climb(ScriptedScore(), levels, torch.ones(3, 1, 8, 8))
    assert [len(losses) for losses in history] == [99, 19, 31]


def test_kor_keeps_the_image_after_its_best_step() -> None:
    """A falling score: the first loss is the lowest, and the image after that first step is the result."""
    images = torch.full((1, 3, 8, 8), 100 / 255)
    asked: list[Tensor] = []

    def falling(batch: Tensor) -> Tensor:
        asked.append(batch.detach())
        return batch.sum((1, 2, 3)) - 1000 * len(asked)

    found, _ = Korhonen(lr=1.0).climb(falling, images * 255, torch.ones(1, 1, 8, 8))
    assert torch.equal(found / 255, asked[1])
    assert not torch.equal(found / 255, asked[2])


def test_kor_returns_whole_levels_and_spares_quiet_pixels() -> None:
    images = IMAGES[:2].clone()
    images[:, :, :, :12] = 0.5  # without activity, so that the map is zero there, two columns in
    adversarial = create_attack("kor", lr=0.5)(MODEL, images)
    torch.testing.assert_close(adversarial * 255, (adversarial * 255).round(), atol=1e-4, rtol=0)
    assert torch.equal(adversarial[:, :, :, :9], (images[:, :, :, :9] * 255 + 0.5).floor() / 255)
    with torch.no_grad():
        assert (MODEL(adversarial) > MODEL(images)).all()


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A perturbation as they are published: an RGB image around grey."""
    levels = np.random.default_rng(0).integers(102, 154, (16, 12, 3)).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "uap.png")
    return tmp_path / "uap.png"


def test_a_published_perturbation_is_tiled_scaled_and_truncated(published: Path) -> None:
    adversarial = create_attack("uap", perturbation=published, multiplier=0.4)(MODEL, IMAGES)
    perturbation = np.asarray(Image.open(published), dtype=np.float32) / np.float32(255) - np.float32(0.5)
    for found, clean in zip(adversarial, LEVELS, strict=True):
        expected = np.empty(clean.shape)
        for y, x, c in np.ndindex(*clean.shape):
            moved = np.float32(clean[y, x, c]) / np.float32(255) + np.float32(0.4) * perturbation[y % 16, x % 12, c]
            expected[y, x, c] = int(np.float32(255) * np.clip(moved, 0, 1))
        np.testing.assert_allclose(found.permute(1, 2, 0).numpy() * 255, expected, atol=1e-3)


def test_a_perturbation_of_no_strength_changes_no_level(published: Path) -> None:
    every_level = (torch.arange(256.0) / 255).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    attack = create_attack("uap", perturbation=published, multiplier=0)
    assert torch.equal(attack(MODEL, every_level), every_level)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("fgms", {}, "did you mean 'fgsm'"),
        ("fgsm", {"epsilon": 0.1}, "did you mean 'eps'"),
        ("fgsm", {"eps": 0.0}, r"\(0, 1\]"),
        ("noise", {"eps": 1.5}, r"\(0, 1\]"),
        ("apgd", {"eps": -0.1}, r"\(0, 1\]"),
        ("ifgsm", {"steps": 0}, "at least 1"),
        ("ifgsm", {"alpha": 0.0}, "positive"),
        ("fgsm", {"loss": "l2"}, "mid"),
        ("fgsm", {"reference": "label"}, "clean, raw or mos"),
        ("noise", {"kind": "gauss"}, "sign or uniform"),
        ("perceptual", {"constraint": "psnr"}, "ssim"),
        ("perceptual", {"constraint": "linf"}, "weight=0"),
        ("perceptual", {"steps": -1}, "negative"),
        ("kor", {"lr": 0.0}, "grey levels"),
        ("kor", {"adam": "keras"}, "matlab or torch"),
        ("uap", {"perturbation": torch.zeros(1, 8, 8)}, r"\(3, h, w\)"),
        ("uap", {"perturbation": "nowhere.png"}, "cannot be read"),
        ("uap", {"perturbation": torch.zeros(3, 8, 8), "multiplier": -1}, "multiplier"),
        ("apgd", {"restarts": 0}, "at least 1"),
        ("apgd", {"direction": "left"}, "mid, up, down, two_sided"),
        ("fgsm", {"loss": "mae", "direction": "up"}, "only with loss 'mid'"),
        ("transfer", {"source": MODEL, "steps": 0}, "at least 1"),
        ("square", {"queries": 0}, "at least 1"),
        ("stadv", {"pixels": 0.0}, "positive"),
        ("square", {"eps": 2.0}, r"\(0, 1\]"),
    ],
)
def test_bad_parameters_are_refused(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_attack(name, **params)


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_a_perturbation_with_the_wrong_channels_is_refused(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (8, 8)).save(tmp_path / "uap.png")
    with pytest.raises(ValueError, match="must be an 8-bit RGB image"):
        create_attack("uap", perturbation=tmp_path / "uap.png")


@pytest.mark.parametrize(
    "images",
    [
        torch.rand(3, 24, 24),
        torch.rand(2, 1, 24, 24),
        torch.rand(0, 3, 24, 24),
        torch.full((1, 3, 24, 24), 1.5),
        torch.full((1, 3, 24, 24), -0.1),
        torch.full((1, 3, 24, 24), torch.nan),
        torch.zeros(1, 3, 24, 24, dtype=torch.uint8),
    ],
)
def test_what_is_no_batch_of_images_is_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        create_attack("fgsm")(MODEL, images)


def test_a_score_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="one score per image"):
        create_attack("fgsm")(lambda images: images.sum().view(1), IMAGES)
    with pytest.raises(ValueError, match="must return"):
        create_attack("fgsm")(lambda images: images, IMAGES)


def test_a_model_with_nan_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        create_attack("fgsm")(lambda images: images.sum((1, 2, 3)) * torch.nan, IMAGES)


@pytest.mark.parametrize("name", ["uap", "kor", "transfer", "mad"])
def test_a_trial_cannot_make_an_attack_on_another_model(name: str) -> None:
    check_trial_attacks({"fgsm": {"name": "fgsm"}, "mad": {"name": "mad", "hold": "mse"}})
    with pytest.raises(ValueError, match=rf"attacks: 'mine' \({name}\) is made on another model.*put it under suite"):
        check_trial_attacks({"mine": {"name": name}})


def test_transferred_images_keep_to_their_own_budget() -> None:
    attack = create_attack("transfer", source=MODEL, eps=0.02, alpha=0.005, steps=8)
    assert attack.budget == 0.02
    moved = (attack(MODEL, IMAGES) - IMAGES).abs()
    assert 0.015 < moved.max() <= 0.02 + 1e-6
