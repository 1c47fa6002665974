"""Trials without progress, and servers that do not answer: told by a clock that the test turns."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray._private.authentication import authentication_utils

from study.cluster import watch
from study.running.patience import Patience
from study.running.standstill import FAR_ABOVE, LEAST, Standstill


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def trial(name: str) -> Any:
    return SimpleNamespace(
        trial_id=name, config={"trial": name}, temporary_state=SimpleNamespace(ray_actor=f"the actor of {name}")
    )


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    killed: list[str] = []
    monkeypatch.setattr(ray, "kill", killed.append)
    return killed


def test_a_trial_without_an_epoch_is_ended_once(killed: list[str]) -> None:
    clock, said, heard = Clock(), dict[str, str](), list[str]()
    patience = Patience(30.0, said, heard.append, clock)
    quick, slow = trial("t000"), trial("t001")
    for one in (quick, slow):
        patience.on_trial_start(0, [], one)
    for _ in range(4):
        clock.now += 10
        patience.on_trial_result(0, [], quick, {})
        patience.on_step_begin(0, [quick, slow])
    assert killed == ["the actor of t001"], "once, until Tune has started it again"
    assert said["t001"] == "it finished no epoch within trial_timeout, 30 s, and its process was ended"
    assert heard == [f"t001: {said['t001']}"]
    patience.on_trial_recover(0, [], slow)
    clock.now += 100
    patience.on_trial_result(0, [], quick, {})
    patience.on_step_begin(0, [quick, slow])
    assert len(killed) == 1, "it waits for a place, and no process of it hangs"
    patience.on_trial_start(0, [], slow)
    clock.now += 31
    patience.on_trial_complete(0, [], quick)
    patience.on_step_begin(0, [quick, slow])
    assert killed == ["the actor of t001"] * 2


def test_a_time_far_above_the_longest_epoch_is_said_once_and_ends_nothing(killed: list[str]) -> None:
    clock, heard = Clock(), list[str]()
    patience = Patience(None, {}, heard.append, clock)
    one = trial("t000")
    patience.on_trial_start(0, [], one)
    clock.now += 20
    patience.on_trial_result(0, [], one, {})
    for _ in range(20):
        clock.now += 20
        patience.on_step_begin(0, [one])
        assert bool(heard) == (clock.now - 1020 > max(LEAST, FAR_ABOVE * 20))
    assert len(heard) == 1 and not killed
    assert heard[0].startswith("t000 has finished no epoch for 3 min 40 s, where the longest took 20 s")
    assert "trial_timeout" in heard[0]


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing, as a stopped process does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def gone() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("victim", ["silent", "gone"])
def test_a_server_that_does_not_answer_ends_the_watch_once(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    monkeypatch.setattr(watch, "PERIOD", 0.05)
    monkeypatch.setattr(authentication_utils, "is_token_auth_enabled", lambda: False)
    ended: list[str] = []
    watch.Watch(ended.append).ask({"the head": request.getfixturevalue(victim)})
    assert ended == ["the head"]


def test_tasks_of_which_none_ends_are_named_once_until_one_does() -> None:
    clock, heard = Clock(), list[str]()
    standstill = Standstill(heard.append, "nt-study suite mine", clock)

    def wait(seconds: float, ended: int = 0) -> None:
        clock.now += seconds
        standstill.look(ended)

    wait(10_000)
    assert heard == [], "how long the first one takes nobody knows"
    standstill.since = clock.now
    wait(20, ended=2)
    wait(20 * FAR_ABOVE - 1)
    assert heard == []
    wait(2)
    wait(1000)
    assert len(heard) == 1 and heard[0].endswith("if it hangs: nt-study suite mine")
    wait(1, ended=1)
    wait(10 * 20 * FAR_ABOVE**2)
    assert len(heard) == 2
