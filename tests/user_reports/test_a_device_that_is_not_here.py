"""`--device cuda` and `--device gpu` on a machine without one ended in a traceback."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from study.commands.menu import COMMANDS, function_of
from trainables.devices import devices, usable_device

TAKES_ONE = {"score": ["photo.png"], "attack": []}
"""Commands with --device, and what else they ask for beside a model."""


def test_these_are_the_commands_that_take_one() -> None:
    takes_one = {name for name in COMMANDS if "device" in inspect.signature(function_of(name)).parameters}
    assert takes_one == set(TAKES_ONE)


@pytest.mark.parametrize("command", TAKES_ONE)
@pytest.mark.parametrize("device", ["cuda:7", "gpu", "mps:3", "cuda:-1", "meta", ""])
def test_it_is_one_sentence_with_what_is_here(
    command: str, device: str, knee: Path, nt: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, error = nt(command, knee, *TAKES_ONE[command], "--device", device)
    assert code == 2 and error.count("\n") == 1
    assert f"no device {device!r}" in error and "here are: cpu" in error


def test_what_is_here_is_taken() -> None:
    assert usable_device("cpu") == torch.device("cpu")
    for name in devices():
        assert usable_device(name).type == torch.device(name).type


def test_an_accelerator_may_be_named_without_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.devices.devices", lambda: ["cpu", "cuda:0", "cuda:1"])
    assert [str(usable_device(name)) for name in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda", "cuda:1"]
    with pytest.raises(ValueError, match=r"no device 'cuda:2' here .*: cpu, cuda:0, cuda:1"):
        usable_device("cuda:2")
