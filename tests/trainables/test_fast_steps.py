"""Recorded steps, precision and prefetching: what is faster on a card computes the same, and the CPU shows it.

A CPU has no CUDA graphs. Here a recorded step's replay runs the step again on the recording's own tensors, so that all
but the card's part is what it is there: warm-up, what is put back, learning rates, moments, partial batches, resuming.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from trainables import cuda_graph
from trainables.attacks import create_attack
from trainables.config import Recipe, Stage, TrialConfig, trial_config_from_dict
from trainables.data.prefetch import prefetched
from trainables.data.store import MappedStore, build_store
from trainables.evaluate import evaluate
from trainables.models import create_model
from trainables.models.scorer import InputSpec, Scorer
from trainables.precision import _tf32, computed, computing_in, in_float32, scoring
from trainables.regularizer import nt_penalty
from trainables.train import Training, make_optimizer

CPU = torch.device("cpu")
SIDE, BATCH, IMAGES = 16, 4, 11  # two whole batches and a part of one
BASELINES = ("hyperiqa", "dbcnn", "linearityiqa", "maniqa")
FGSM = {"fgsm": {"name": "fgsm", "eps": 0.005, "alpha": 0.01}}


class RandomNetwork(nn.Module):
    """BatchNorm's statistics and two kinds of random layers: all that a warm-up could leave changed.

    No bias before the BatchNorm, whose gradient is rounding noise that Adam makes steps of.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.drop = StochasticDepth(0.3, mode="row")
        self.head = nn.Sequential(nn.Dropout(0.25), nn.Linear(8, 1))
        self.unused = nn.Linear(2, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.body(inputs)
        return self.judge(features + self.drop(features))

    @in_float32
    def judge(self, features: Tensor) -> Tensor:
        return self.head(features.mean((2, 3))).squeeze(1)


def random_scorer() -> Scorer:
    torch.manual_seed(0)
    spec = InputSpec(height=SIDE, width=SIDE, mode="crop")
    return Scorer(RandomNetwork(), input_spec=spec, backbone=("body",), scale=25.0, offset=50.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MappedStore:
    draw = np.random.default_rng(0)
    images = [draw.integers(0, 256, (SIDE + 4, SIDE + 4, 3), dtype=np.uint8) for _ in range(IMAGES)]
    return build_store(tmp_path_factory.mktemp("images") / "store", images)


ROWS = pd.DataFrame(
    {
        "index": range(IMAGES),
        "image": [f"i{i}" for i in range(IMAGES)],
        "content": "noise",
        "split": "test",
        "mos": np.linspace(10, 80, IMAGES),
    }
)


def config(*, lam: float = 1e-3, recipe: dict[str, Any] | None = None, **stage: Any) -> TrialConfig:
    chosen: dict[str, Any] = {"name": "train", "epochs": 3, "lr": 1e-3, "batch_size": BATCH, "schedule": "cosine"}
    return TrialConfig(
        trial="t000",
        model="hyperiqa",
        size="small",
        recipe=Recipe(stages=(Stage(**{**chosen, **stage}),), **(recipe or {})),
        lam=lam,
        step_size=0.01,
        seed=3,
        attacks=FGSM,
    )


Train = Callable[..., Training]


@pytest.fixture
def train(store: MappedStore) -> Train:
    """A training, run for some epochs; with `recording` as if on a card."""

    def run(chosen: TrialConfig, *, epochs: int = 2, recording: bool = False, state: Any = None) -> Training:
        training = Training(random_scorer(), chosen, store, ROWS, CPU)
        training._records = recording
        if state is not None:
            training.load_state_dict(state)
        for _ in range(epochs):
            training.run_epoch()
        return training

    return run


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps can be recorded; the list gets an entry for every replay."""
    replayed: list[int] = []

    def record(step: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Callable[[], None], tuple[Tensor, Tensor]]:
        results = torch.zeros(()), torch.zeros(())

        def replay() -> None:
            replayed.append(1)
            for kept, value in zip(results, step(), strict=True):
                kept.copy_(value)

        return replay, results

    monkeypatch.setattr(cuda_graph, "record", record)
    monkeypatch.setattr(cuda_graph, "warm_up", lambda step, device: [step() for _ in range(3)])
    return replayed


def assert_same(one: Training, other: Training, *, rtol: float = 1e-5) -> None:
    torch.testing.assert_close(one.model.state_dict(), other.model.state_dict(), rtol=rtol, atol=1e-7)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adam"},
        {"optimizer": "adamw", "weight_decay": 0.01, "lam": 0.0},
        {"optimizer": "sgd", "weight_decay": 0.01},
        {"optimizer": "adam", "rebuild_optimizer": True},
        {"optimizer": "sgd", "rebuild_optimizer": True, "trains": "head"},
        {"optimizer": "sgd", "recipe": {"loss": "norm_in_norm", "loss_scale": "native", "calibrate": True}},
        {"recipe": {"precision": "bf16"}},
        {"optimizer": "adam", "recipe": {"defence_every": 2}},
    ],
    ids=lambda changes: "-".join(f"{key}={value}" for key, value in changes.items() if key != "recipe") or "recipe",
)
def test_a_recorded_training_is_the_eager_one(train: Train, replays: list[int], changes: dict[str, Any]) -> None:
    eager, recorded = train(config(**changes)), train(config(**changes), recording=True)
    assert len(replays) == 2 * (IMAGES // BATCH), "whole batches are replayed, partial ones are not"
    assert_same(recorded, eager)


def test_a_recorded_training_resumed_is_the_same_training(train: Train, replays: list[int], tmp_path: Path) -> None:
    chosen = config(optimizer="adam")
    straight = train(chosen, epochs=3, recording=True)
    torch.save(train(chosen, epochs=1, recording=True).state_dict(), tmp_path / "checkpoint.pt")

    def resumed(recording: bool) -> Training:
        state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        return train(chosen, epochs=2, recording=recording, state=state)

    assert_same(resumed(recording=True), straight, rtol=0)
    assert_same(resumed(recording=False), straight)


def test_an_eager_training_can_go_on_recorded(train: Train, replays: list[int]) -> None:
    chosen = config(optimizer="adam")
    state = train(chosen, epochs=1).state_dict()
    assert_same(train(chosen, epochs=2, recording=True, state=state), train(chosen, epochs=3))
    assert len(replays) == 2 * (IMAGES // BATCH)


def test_stages_are_recorded_one_by_one(train: Train, replays: list[int]) -> None:
    first = Stage(name="first", epochs=1, lr=1e-2, optimizer="sgd", batch_size=2, trains="head")
    second = Stage(name="second", epochs=1, lr=1e-3, batch_size=BATCH)
    chosen = dataclasses.replace(config(), recipe=Recipe(stages=(first, second)))
    assert_same(train(chosen, recording=True), train(chosen))
    assert len(replays) == IMAGES // 2 + IMAGES // BATCH


def test_recording_leaves_all_as_it_was(train: Train, replays: list[int], store: MappedStore) -> None:
    training = train(config(optimizer="adam"), epochs=1)
    optimizer = training._optimizer
    assert optimizer is not None
    training.model.train()
    before = {key: value.clone() for key, value in training.model.state_dict().items()}
    moments = [value.clone() for value in cuda_graph.state_tensors(optimizer)]
    random = torch.get_rng_state()
    images, targets = torch.zeros(BATCH, 3, SIDE, SIDE, dtype=torch.uint8), torch.zeros(BATCH)
    assert cuda_graph.record_step(training._step, images, targets, training.model, optimizer) is not None
    assert all(torch.equal(value, before[key]) for key, value in training.model.state_dict().items())
    after = cuda_graph.state_tensors(optimizer)
    assert moments and all(torch.equal(value, was) for value, was in zip(after, moments, strict=True))
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("failing", ["record", "warm_up"])
def test_what_cannot_be_recorded_is_trained_eagerly_and_said(
    train: Train, replays: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    def refuse(step: Callable[[], object], *_: object) -> None:
        if failing == "warm_up":
            step()
        raise RuntimeError("operation not permitted when stream is capturing\nlong story")

    monkeypatch.setattr(cuda_graph, failing, refuse)
    with caplog.at_level(logging.WARNING):
        training = train(config(), recording=True)
    assert_same(training, train(config()))
    assert [record.getMessage() for record in caplog.records] == [
        "no CUDA graph of the training step, so it is launched piece by piece: "
        "operation not permitted when stream is capturing"
    ]
    assert training.run_epoch()["steps"] == "eager"


def test_a_cpu_records_nothing_and_keeps_pytorchs_own_optimiser(train: Train, replays: list[int]) -> None:
    training = Training(random_scorer(), config(), None, ROWS, CPU)  # type: ignore[arg-type]
    assert not training._records
    row = train(config(), epochs=0).run_epoch()
    assert (row["steps"], row["arithmetic"], replays) == ("eager", "fp32", [])
    options = make_optimizer(random_scorer(), config().stages[0]).param_groups[0]
    assert options["fused"] is None and isinstance(options["lr"], float)


@pytest.mark.parametrize(("lam", "passes"), [(1e-3, 2), (0.0, 1)])
def test_a_step_takes_no_more_forward_passes_than_it_needs(train: Train, lam: float, passes: int) -> None:
    training = train(config(lam=lam), epochs=0)
    seen: list[int] = []
    training.model.network.register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    training.run_epoch()
    assert len(seen) == passes * 3


def test_a_defence_in_every_second_step_is_its_term_there_with_twice_lam(train: Train) -> None:
    half = train(config(recipe={"defence_every": 2}), epochs=0)
    terms: list[float] = []
    optimise = half._optimise

    def noted(images: Tensor, targets: Tensor, defence: Any, lam: float) -> tuple[Tensor, Tensor]:
        terms.append(lam)
        return optimise(images, targets, defence, lam)

    half._optimise = noted  # type: ignore[method-assign]
    row = half.run_epoch()
    assert terms == [2e-3, 0.0, 2e-3], "three batches, and the first one has it"
    assert row["passes"] == pytest.approx((5 + 2 + 5) / 3)
    assert float(row["train_penalty"]) > 0, "the mean of the steps that have one"


def test_without_a_defence_its_steps_do_not_matter(train: Train) -> None:
    one, other = train(config(lam=0.0)), train(config(lam=0.0, recipe={"defence_every": 3}))
    assert_same(one, other, rtol=0)
    assert one.run_epoch()["passes"] == other.run_epoch()["passes"] == 2


# Precision -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BASELINES)
def test_the_body_is_lowered_and_the_head_is_not(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, size="small").eval()
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    kinds: dict[str, set[torch.dtype]] = {"body": set(), "head": set()}
    head = {id(parameter) for parameter in model.parameter_groups()["head"]}
    body = {"hyperiqa": "res.layer1", "dbcnn": "features1", "linearityiqa": "features", "maniqa": "vit.blocks"}[name]
    last = {"hyperiqa": "fc5b_fc", "dbcnn": "fc", "linearityiqa": "regression", "maniqa": "fc_score.3"}[name]
    for label, place, of in (("body", body, nn.Conv2d | nn.Linear), ("head", last, nn.Linear)):
        for module in model.network.get_submodule(place).modules():
            if isinstance(module, of):
                assert (id(module.weight) in head) == (label == "head")
                module.register_forward_hook(lambda module, args, output, label=label: kinds[label].add(output.dtype))
    precise = model.outputs(model.normalise(pixels))
    assert kinds == {"body": {torch.float32}, "head": {torch.float32}}
    kinds["body"].clear()
    with computing_in("bf16", model):
        lowered = model.outputs(model.normalise(pixels))
    assert kinds == {"body": {torch.bfloat16}, "head": {torch.float32}}
    assert lowered.dtype == torch.float32
    torch.testing.assert_close(lowered, precise, rtol=0.05, atol=0.05)
    assert not torch.equal(lowered, precise)


def test_the_penalty_in_bfloat16_is_about_the_penalty() -> None:
    """Within a few hundredths here; a score that itself had eight bits would be off by more than its own size."""
    torch.manual_seed(0)
    model = create_model("hyperiqa", size="small").eval()
    inputs = model.normalise(torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    _, exact = nt_penalty(model.outputs, inputs, 0.03)
    with computing_in("bf16", model):
        _, lowered = nt_penalty(model.outputs, inputs, 0.03)
    assert lowered.item() == pytest.approx(exact.item(), rel=0.2)


def test_settings_are_put_back_after_an_error_too() -> None:
    model = random_scorer()
    switches = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [switch.allow_tf32 for switch in switches]
    expected = {"fp32": [False, False], "conv_tf32": [False, True], "tf32": [True, True], "bf16": [True, True]}
    for precision, settings in expected.items():
        with pytest.raises(ZeroDivisionError), computing_in(precision, model), _tf32(precision):  # type: ignore[arg-type]
            assert [switch.allow_tf32 for switch in switches] == settings
            assert model.autocast_to == (torch.bfloat16 if precision == "bf16" else None)
            raise ZeroDivisionError
        assert [switch.allow_tf32 for switch in switches] == before and model.autocast_to is None


def test_what_is_really_computed_has_a_name() -> None:
    assert [computed(precision, CPU) for precision in ("fp32", "conv_tf32", "tf32", "bf16")] == [*["fp32"] * 3, "bf16"]
    assert [scoring(precision) for precision in ("conv_tf32", "tf32", "bf16")] == ["conv_tf32", "fp32", "fp32"]


def test_scores_are_in_float32_whatever_an_attack_computes_in(store: MappedStore) -> None:
    model, ifgsm = random_scorer(), {"ifgsm": create_attack("ifgsm", steps=3)}
    exact = evaluate(model, store, ROWS, ifgsm)
    seen: list[torch.dtype | None] = []
    hook = model.network.register_forward_hook(lambda *_: seen.append(model.autocast_to))
    lowered = evaluate(model, store, ROWS, ifgsm, precision="bf16")
    hook.remove()
    np.testing.assert_array_equal(lowered["clean_score"], exact["clean_score"])
    np.testing.assert_array_equal(lowered["gradient_l1"], exact["gradient_l1"])
    np.testing.assert_allclose(lowered["attacked_score"], exact["attacked_score"], atol=0.1)
    # What measures a batch's memory, the clean pass, two further gradients, the attacked scores and their 8-bit form.
    assert seen == [None, None, torch.bfloat16, torch.bfloat16, None, None]


def test_a_config_from_before_the_choice_loads_as_what_it_was() -> None:
    written = json.loads(json.dumps(config().to_dict()))
    for key in ("precision", "attack_precision", "graphs"):
        del written["recipe"][key]
    recipe = trial_config_from_dict(written).recipe
    assert (recipe.precision, recipe.attack_precision) == ("conv_tf32", "conv_tf32")
    with pytest.raises(ValueError, match="attack_precision must be one of fp32, conv_tf32, tf32, bf16, got 'fp8'"):
        dataclasses.replace(recipe, attack_precision="fp8")  # type: ignore[arg-type]


# Prefetching ---------------------------------------------------------------------------------------------------------


def test_prefetched_items_keep_their_order_and_come_from_another_thread() -> None:
    makers: set[int] = set()

    def items() -> Iterator[int]:
        for number in range(20):
            makers.add(threading.get_ident())
            yield number

    assert list(prefetched(items())) == list(range(20))
    assert len(makers) == 1 and threading.get_ident() not in makers


def test_an_error_of_a_prefetched_item_arrives_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the third is broken")

    received = []
    with pytest.raises(ValueError, match="the third is broken"):
        for item in prefetched(items()):
            received.append(item)
    assert received == [1, 2]


def test_prefetching_ends_with_its_reader() -> None:
    before = threading.active_count()
    reader = prefetched(itertools.count())
    assert [next(reader), next(reader)] == [0, 1]
    assert threading.active_count() > before
    reader.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
