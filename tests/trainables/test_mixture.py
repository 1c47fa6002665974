"""Mixtures: the parents at the ends, the same from both sides, and a record like a trial's."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from trainables.config import BASELINE, Mixture, Recipe, Stage, TrialConfig, trial_config_from_dict
from trainables.mixture import interpolate, mixture_config
from trainables.models import create_model
from trainables.models.scorer import Scorer

MODELS = ("hyperiqa", "dbcnn", "linearityiqa", "maniqa")


def model(name: str, seed: int) -> Scorer:
    """Untrained, but with BatchNorm statistics of its own."""
    torch.manual_seed(seed)
    made = create_model(name, size="small")
    made.train()
    made(images())
    return made.eval()


def images() -> Tensor:
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MODELS)
def test_at_its_ends_a_path_has_its_parents_scores_to_the_last_bit(name: str) -> None:
    first, second = model(name, 1), model(name, 2)
    for weight, parent in ((0.0, first), (1.0, second)):
        mixed = create_model(name, size="small").eval()
        mixed.load_state_dict(interpolate(first.state_dict(), second.state_dict(), weight))
        assert torch.equal(mixed(images()), parent(images()))


@pytest.mark.parametrize("weight", [0.0, 0.0001, 0.35, 0.5, 0.7, 1.0])
def test_the_order_of_the_parents_does_not_matter(weight: float) -> None:
    first, second = model("linearityiqa", 1).state_dict(), model("linearityiqa", 2).state_dict()
    there, back = interpolate(first, second, weight), interpolate(second, first, 1 - weight)
    assert all(torch.equal(there[key], back[key]) for key in there)
    assert Mixture.of("t003", BASELINE, 0.3) == Mixture.of(BASELINE, "t003", 0.7)
    assert Mixture.of("t1000", "t003", 0.4321).name == "t003~t1000@0.5679"


def test_counters_survive_and_every_other_tensor_lies_between_its_parents() -> None:
    first, second = model("dbcnn", 1).state_dict(), model("dbcnn", 2).state_dict()
    counters = [key for key, value in first.items() if not value.is_floating_point()]
    assert counters
    first[counters[0]] += 5
    mixed = interpolate(first, second, 0.25)
    for key, value in mixed.items():
        assert value.dtype == first[key].dtype
        if key in counters:
            assert int(value) == max(int(first[key]), int(second[key]))
        else:
            assert torch.allclose(value, torch.lerp(first[key], second[key], 0.25), atol=1e-6)


def test_states_that_do_not_fit_and_weights_outside_the_path_are_refused() -> None:
    first = model("hyperiqa", 1).state_dict()
    with pytest.raises(ValueError, match="one architecture"):
        interpolate(first, model("dbcnn", 1).state_dict(), 0.5)
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        interpolate(first, first, 1.5)
    for wrong in (0.0, 1.0, 0.33333):
        with pytest.raises(ValueError, match=r"steps of 0\.0001"):
            Mixture(parents=(BASELINE, "t000"), weight=wrong)
    with pytest.raises(ValueError, match="two different parents"):
        Mixture(parents=("t000", "t000"), weight=0.5)


def test_a_mixtures_configuration_says_what_it_was_made_of_and_survives_its_file() -> None:
    recipe = Recipe(stages=(Stage(name="train", epochs=2, lr=1e-3),))
    baseline = TrialConfig(
        trial=BASELINE, model="hyperiqa", size="small", recipe=recipe, lam=0.0, step_size=0.01, seed=3, attacks={}
    )
    robust = dataclasses.replace(baseline, trial="t003", lam=1e-3)
    config = mixture_config(Mixture.of(BASELINE, "t003", 0.35), baseline, robust)
    assert (config.trial, config.lam, config.epochs) == ("baseline~t003@0.35", pytest.approx(3.5e-4), 0)
    assert trial_config_from_dict(config.to_dict()) == config
    assert config.mixture is not None
    assert config.mixture.describe() == "0.65 baseline + 0.35 t003"
    with pytest.raises(ValueError, match="their models are"):
        mixture_config(Mixture.of(BASELINE, "t003", 0.35), baseline, dataclasses.replace(robust, model="dbcnn"))
