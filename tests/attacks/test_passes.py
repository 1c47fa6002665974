"""What attacks cost, counted in passes through the network: it cannot grow unseen."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_models import noisy_gradients, trained_scorer
from torch import Tensor, nn

from trainables.attacks import create_attack
from trainables.evaluate import clean_scores, evaluate, probe

LEVELS, QUALITY = noisy_gradients(10, seed=5)
ROWS = pd.DataFrame(
    {
        "index": range(10),
        "image": [str(number) for number in range(10)],
        "content": [str(number) for number in range(10)],
        "split": "validation",
        "mos": np.linspace(0, 100, 10),
    }
)
BATCHES, BATCH_SIZE = 2, 5


class Counted:
    """A model that counts its forward passes, and the backward passes that reach its inputs."""

    def __init__(self) -> None:
        self.model = copy.deepcopy(trained_scorer())
        self.forward = self.backward = 0
        self._handles = [self.model.network.register_forward_hook(self._on_forward)]

    def _on_forward(self, _module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if len(inputs[0]) < BATCH_SIZE:
            return  # one image, scored once in order to see how many fit into memory
        self.forward += 1
        if output.requires_grad:
            output.register_hook(self._on_backward)

    def _on_backward(self, _gradient: Tensor) -> None:
        self.backward += 1


@pytest.fixture
def counted() -> Iterator[Counted]:
    counter = Counted()
    yield counter
    assert all(parameter.grad is None for parameter in counter.model.parameters()), "nobody reads these gradients"


@pytest.mark.parametrize(
    ("name", "params", "forward", "backward"),
    [
        # Of each batch: the clean pass with its gradient, then the attack's own, then two attacked scores.
        ("fgsm", {}, 1 + 0 + 2, 1),
        ("ifgsm", {"steps": 5}, 1 + 4 + 2, 5),
        ("noise", {}, 1 + 0 + 2, 1),
        ("apgd", {"steps": 6, "restarts": 2}, 1 + 6 + 1 + 6 + 2, 1 + 6 + 1 + 6),
        ("apgd", {"steps": 6, "restarts": 2, "direction": "two_sided"}, 1 + 2 * (6 + 1 + 6 + 2), 1 + 2 * (6 + 1 + 6)),
        ("square", {"queries": 9}, 1 + 9 + 2, 1),
        ("stadv", {"steps": 4}, 1 + 2 * 4 + 2, 1 + 4),
        # Both ends, then two scores of each candidate but of the clean image, whose score is known.
        ("rank", {"steps": 6, "levels": 2}, 1 + 2 * 6 + 2 * 2 * 2, 1 + 2 * 6),
        ("rank_square", {"queries": 9, "levels": 1}, 1 + 2 * 9 + 2 * 2, 1),
        ("mad", {"steps": 4, "hold": "mse"}, 1 + 5 + 2, 1 + 5),
        ("uap", {"perturbation": torch.full((3, 24, 24), 0.02)}, 1 + 0 + 1, 1),  # its images are 8-bit already
    ],
)
def test_an_attack_takes_no_more_passes_than_it_needs(
    counted: Counted, name: str, params: dict[str, Any], forward: int, backward: int
) -> None:
    evaluate(counted.model, LEVELS, ROWS, {name: create_attack(name, **params)}, batch_size=BATCH_SIZE)
    assert (counted.forward, counted.backward) == (forward * BATCHES, backward * BATCHES)


def test_attacks_share_the_clean_pass(counted: Counted) -> None:
    attacks = {"fgsm": create_attack("fgsm"), "ifgsm": create_attack("ifgsm", steps=3), "noise": create_attack("noise")}
    evaluate(counted.model, LEVELS, ROWS, attacks, batch_size=BATCH_SIZE)
    assert counted.backward == (1 + 2) * BATCHES
    assert counted.forward == (1 + 2 + 3 * 2) * BATCHES


def test_ready_made_adversaries_cost_scores_alone(counted: Counted) -> None:
    evaluate(counted.model, LEVELS, ROWS, {"kor": LEVELS[::-1].copy()}, batch_size=BATCH_SIZE)
    assert (counted.forward, counted.backward) == (2 * BATCHES, BATCHES)  # 8-bit images are scored once


def test_an_epoch_s_probe_is_two_passes(counted: Counted) -> None:
    probe(counted.model, LEVELS, ROWS, create_attack("fgsm"), batch_size=BATCH_SIZE)
    assert (counted.forward, counted.backward) == (2 * BATCHES, BATCHES)


def test_clean_scores_ask_for_no_gradient(counted: Counted) -> None:
    clean_scores(counted.model, LEVELS, ROWS, batch_size=BATCH_SIZE)
    assert (counted.forward, counted.backward) == (BATCHES, 0)
