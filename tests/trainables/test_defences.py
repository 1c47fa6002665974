"""Defences of training: values that a linear scorer has on paper, what they cost, and that a kill costs nothing."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import Tensor, nn

from search_spaces.defence_space import FOLDER, searched_by
from trainables.config import BASELINE, Recipe, Stage, TrialConfig, trial_config_from_dict
from trainables.defences import DEFENCES, check_defence, defence_of, trains_on_one_step
from trainables.defences.base import Batch, Defence, NoDefence
from trainables.losses import l1
from trainables.models.scorer import IMAGENET_STD, InputSpec, Scorer
from trainables.ssim import ssim
from trainables.trial import Trial, run_trial

SIDE, EPS = 12, 0.01
SCALE, OFFSET = 25.0, 50.0
FGSM = {"fgsm": {"name": "fgsm", "eps": 0.005, "alpha": 0.01}}
STAGES = (Stage(name="pretrain", epochs=1, lr=1e-3), Stage(name="finetune", epochs=2, lr=5e-4))


class Linear(nn.Module):
    """Scores (N,) = weights · input."""

    def __init__(self) -> None:
        super().__init__()
        weights = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) / 100
        self.weights = nn.Parameter(weights)

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs * self.weights).flatten(1).sum(1)


def linear() -> Scorer:
    spec = InputSpec(height=SIDE, width=SIDE, mode="crop")
    return Scorer(Linear(), input_spec=spec, backbone=(), scale=SCALE, offset=OFFSET)


def weights(model: Scorer) -> Tensor:
    return model.network.get_parameter("weights").detach()


def images(count: int = 4) -> Tensor:
    """Far enough from black and white that no budget is cut off."""
    return 0.2 + 0.6 * torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


TARGETS = torch.tensor([10.0, 40.0, 40.0, 90.0])


def batch_of(model: Scorer, pixels: Tensor, targets: Tensor = TARGETS, *, native: bool = False) -> Batch:
    def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
        return l1(model.to_mos(outputs), wanted)

    def unit(outputs: Tensor) -> Tensor | float:
        return 1.0 if native else model.scale

    return Batch(model=model, inputs=model.normalise(pixels), targets=targets, loss=loss, unit=unit)


def create(name: str, **params: Any) -> Defence:
    check_defence(name, params)
    made: Callable[..., Defence] = DEFENCES[name]
    return made(**params, **({"step_size": 0.01} if name == "nt" else {}))


def term(name: str, batch: Batch, **params: Any) -> float:
    return create(name, **params).term(batch)[1].item()


def norm_in_inputs(model: Scorer) -> float:
    """‖∇f‖₁ of the linear scorer, in its own units per unit of normalised input."""
    return weights(model).abs().sum().item()


def worst_change(model: Scorer, eps: float = EPS) -> float:
    """eps ‖∇f‖₁ in its own units, eps in pixels."""
    return eps * float((weights(model).abs() / torch.tensor(IMAGENET_STD).view(3, 1, 1)).sum())


@pytest.mark.parametrize("native", [False, True])
def test_nt_and_the_exact_norm_are_half_the_squared_norm(native: bool) -> None:
    model = linear()
    batch = batch_of(model, images(), native=native)
    expected = (norm_in_inputs(model) * (1.0 if native else SCALE)) ** 2 / 2
    assert term("exact_norm", batch) == pytest.approx(expected, rel=1e-5)
    assert term("nt", batch) == pytest.approx(expected, rel=1e-3)  # a difference of two scores in float32


@pytest.mark.parametrize("params", [{}, {"steps": 3}, {"steps": 3, "random_start": True}])
def test_adversarial_training_adds_the_worst_change_to_every_error(params: dict[str, Any]) -> None:
    model = linear()
    batch = batch_of(model, images())
    errors = (model(images()) - TARGETS).abs().detach()
    expected = float(errors.mean()) + SCALE * worst_change(model)
    assert term("adversarial_training", batch, eps=EPS, **params) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("labels", ["shift", "min", "ssim"])
def test_the_label_strategies_are_the_published_ones(labels: str) -> None:
    """Chistyakova et al. 2024: the label less a share of the scale, the scale's end, or less what SSIM has lost."""
    model, pixels = linear(), images()
    batch = batch_of(model, pixels)
    side = (model(pixels) - TARGETS).detach().sign().view(-1, 1, 1, 1)
    attacked = pixels + EPS * side * weights(model).sign()
    wanted = {
        "shift": (TARGETS - 5).clamp(0, 100),
        "min": torch.zeros(4),
        "ssim": (TARGETS - 5 * (1 - ssim(pixels, attacked))).clamp(0, 100),
    }[labels]
    expected = float((model(attacked) - wanted).abs().mean())
    found = term("adversarial_training", batch, eps=EPS, labels=labels, strength=0.05)
    assert found == pytest.approx(expected, rel=1e-4)


def test_trades_is_the_square_of_the_worst_change() -> None:
    model = linear()
    expected = (SCALE * worst_change(model)) ** 2
    assert term("trades", batch_of(model, images()), eps=EPS) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("norm", ["step", "exact"])
def test_the_rank_hinge_is_what_each_pair_lacks(norm: str) -> None:
    model = linear()
    scores = model(images()).tolist()
    worst, margin = SCALE * worst_change(model), 3.0
    pairs = [(i, j) for i in range(4) for j in range(i) if TARGETS[i] != TARGETS[j]]
    assert len(pairs) == 5, "two images have one MOS"
    lacking = [max(0.0, margin + 2 * worst - abs(scores[i] - scores[j])) for i, j in pairs]
    assert 0 in lacking or len(set(lacking)) > 1
    found = term("rank_margin", batch_of(model, images()), eps=EPS, margin=margin, norm=norm)
    assert found == pytest.approx(sum(lacking) / 5, rel=1e-3)


@pytest.mark.parametrize("norm", ["step", "exact"])
def test_the_relative_norm_does_not_change_with_the_scale_of_the_scores(norm: str) -> None:
    model = linear()
    batch = batch_of(model, images())
    spread = float(model.network(batch.inputs).std(correction=0))
    found = term("rank_margin", batch, form="relative", eps=EPS, norm=norm)
    assert found == pytest.approx((worst_change(model) / spread) ** 2, rel=1e-3)
    with torch.no_grad():
        model.network.get_parameter("weights").mul_(7)
    assert term("rank_margin", batch, form="relative", eps=EPS, norm=norm) == pytest.approx(found, rel=1e-3)


@pytest.mark.parametrize("name", ["nt", "exact_norm", "trades"])
def test_following_a_term_makes_the_score_harder_to_move(name: str) -> None:
    model = linear()
    before, rate = worst_change(model), 1e-4
    for _ in range(20):
        found = create(name).term(batch_of(model, images(), native=True))[1]
        parameter = model.network.get_parameter("weights")
        (gradient,) = torch.autograd.grad(found, parameter)
        with torch.no_grad():
            parameter.sub_(rate * gradient.sign())
    assert worst_change(model) < 0.9 * before


def test_a_batch_of_one_mos_has_no_pair() -> None:
    assert term("rank_margin", batch_of(linear(), images(), torch.full((4,), 30.0))) == 0


def test_adversarial_inputs_stay_pixels() -> None:
    model = linear()
    corners = torch.cat([torch.zeros(2, 3, SIDE, SIDE), torch.ones(2, 3, SIDE, SIDE)])
    seen: list[Tensor] = []
    model.network.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach()))
    for name in ("adversarial_training", "trades"):
        create(name, eps=0.1).term(batch_of(model, corners))
    pixels = torch.cat(seen) * model.std + model.mean
    assert pixels.min() > -1e-6 and pixels.max() < 1 + 1e-6


class Counting:
    """Forward passes of a network, and backward passes that come to its outputs."""

    def __init__(self, model: Scorer) -> None:
        self.forward = self.backward = 0
        model.network.register_forward_hook(self._on_forward)

    def _on_forward(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self.forward += 1
        if output.requires_grad:
            output.register_hook(self._on_backward)

    def _on_backward(self, _gradient: Tensor) -> None:
        self.backward += 1


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("none", {}),
        ("nt", {}),
        ("adversarial_training", {}),
        ("adversarial_training", {"steps": 4, "random_start": True}),
        ("trades", {}),
        ("trades", {"steps": 5}),
        ("rank_margin", {}),
        ("rank_margin", {"form": "relative"}),
    ],
)
def test_a_step_costs_the_passes_that_it_says(name: str, params: dict[str, Any]) -> None:
    model = linear()
    counting, defence, batch = Counting(model), create(name, **params), batch_of(model, images())
    outputs, found = defence.term(batch)
    (batch.loss(outputs, TARGETS) + found).backward(inputs=list(model.parameters()))
    assert counting.forward + counting.backward == defence.passes


@pytest.mark.parametrize("name", ["adversarial_training", "trades"])
def test_making_adversarial_inputs_leaves_batch_statistics_and_modes_alone(name: str) -> None:
    class Normed(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(self.norm(inputs))

    model = Scorer(Normed(), input_spec=InputSpec(height=SIDE, width=SIDE, mode="crop"), backbone=()).train()
    create(name, steps=7).term(batch_of(model, images()))
    assert model.network.get_buffer("norm.num_batches_tracked") == 2, (
        "the clean pass and the one that the term is computed from"
    )
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("trade", {}, "unknown defence 'trade'; did you mean 'trades'"),
        ("nt", {"step_size": 0.1}, "step_size is searched"),
        ("trades", {"stepz": 1}, "has no parameter 'stepz'; it takes eps, steps, alpha"),
        ("trades", {"eps": 0.0}, "eps is a pixel change"),
        ("adversarial_training", {"steps": 0}, "steps must be at least 1"),
        ("adversarial_training", {"labels": "lpips"}, "unknown labels 'lpips'"),
        ("adversarial_training", {"strength": 5}, "strength is a share"),
        ("rank_margin", {"form": "signed"}, "unknown form 'signed'"),
        ("rank_margin", {"margin": -1}, "margin must not be negative"),
    ],
)
def test_a_mistake_gets_a_sentence(name: str, params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_defence(name, params)


def config(trial: str, defence: str = "nt", **params: Any) -> TrialConfig:
    recipe = Recipe(init="baseline", stages=STAGES, defence=defence, defence_params=params)
    lam = 0.0 if trial == BASELINE or defence == "none" else {"nt": 1e-4, "exact_norm": 1e-4}.get(defence, 0.1)
    return TrialConfig(
        trial=trial, model="hyperiqa", size="small", recipe=recipe, lam=lam, step_size=0.01, seed=3, attacks=FGSM
    )


def test_a_record_that_names_no_defence_was_nts() -> None:
    values = config("t000").to_dict()
    for key in ("defence", "defence_params"):
        del values["recipe"][key]
    assert trial_config_from_dict(values) == config("t000")
    assert isinstance(defence_of(config(BASELINE, "trades")), NoDefence), "the baseline has λ=0, whatever the study"


def test_training_on_one_step_is_known_from_the_configuration() -> None:
    assert trains_on_one_step(config("t000", "adversarial_training"))
    assert trains_on_one_step(config("t000", "trades", steps=1))
    for other in (config("t000", "trades"), config("t000"), config("t000", "adversarial_training", steps=3)):
        assert not trains_on_one_step(other)
    assert not trains_on_one_step(config(BASELINE, "adversarial_training")), "the baseline has λ=0"


def test_every_defence_has_a_space_of_parameters_that_it_takes() -> None:
    for name, defence in DEFENCES.items():
        taken = inspect.signature(defence).parameters
        assert set(searched_by(name)) <= {"lam", *taken}, name
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*DEFENCES} - {"nt"}
    for path in FOLDER.glob("*.yaml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["space"], path


def test_the_guides_defence_is_one_file_and_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
    (file,) = re.findall(r"```python\n# trainables/defences/noise_training\.py\n(.*?)```", guide, re.DOTALL)
    made = ModuleType("noise_training")
    monkeypatch.setitem(sys.modules, "noise_training", made)
    exec(file, made.__dict__)
    monkeypatch.setitem(DEFENCES, "noise_training", made.__dict__["NoiseTraining"])
    batch = batch_of(linear(), images())
    torch.manual_seed(0)
    assert 0 < term("noise_training", batch, eps=EPS) < term("trades", batch, eps=EPS)


@pytest.fixture(scope="module")
def rows(few: Callable[[dict[str, int]], pd.DataFrame]) -> pd.DataFrame:
    return few({"train": 40, "validation": 40, "test": 40})


@pytest.fixture(scope="module")
def baseline(photos: Any, rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / BASELINE
    run_trial(Trial(config(BASELINE), photos.store, rows, folder))
    return folder


@pytest.mark.parametrize("name", [name for name in DEFENCES if name != "nt"])
def test_a_trial_of_any_defence_killed_after_an_epoch_ends_as_if_it_had_not_been(
    name: str, photos: Any, rows: pd.DataFrame, baseline: Path, tmp_path: Path
) -> None:
    def make(folder: str) -> Trial:
        return Trial(config("t000", name), photos.store, rows, tmp_path / folder, start=baseline)

    straight = run_trial(make("straight"))
    make("cut").run_epoch()
    resumed = make("cut")
    assert resumed.training.epoch == 1
    again = run_trial(resumed)
    np.testing.assert_array_equal(again["attacked_score"], straight["attacked_score"])
    assert {row["passes"] for row in resumed.epochs} == {create(name).passes}
