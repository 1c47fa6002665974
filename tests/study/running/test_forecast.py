"""`launch --dry-run`: what would run, how long, how much of the disk, what is missing; and nothing is begun."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import run_here

from search_spaces.schema import load_study_file
from study.running import forecast as module
from study.running.forecast import Forecast, forecast
from study.running.ready import bytes_needed, look_over


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Forecast:
    """The smoke study with the full suite, forecast."""
    study_file = load_study_file("hyperiqa", preset="smoke", overrides={"full_suite": "all"})
    ready = look_over(tmp_path_factory.mktemp("studies"), "smoke", study_file)
    assert ready is not None
    found = forecast(ready)
    assert found.bytes == bytes_needed(study_file, ready.model)
    return found


def test_it_adds_up(brief: Forecast) -> None:
    assert brief.trials == 2 and sum(brief.images.values()) > 2000
    assert brief.record_seconds < brief.trial_seconds < brief.baseline_seconds, "two epochs against four"
    rounds = -(-brief.trials // brief.at_a_time)
    whole = module.START_SECONDS + brief.baseline_seconds + rounds * brief.trial_seconds + brief.suite_seconds
    assert brief.seconds == pytest.approx(whole)
    assert brief.suite_seconds > brief.record_seconds, "iterated attacks"


def test_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, brief: Forecast
) -> None:
    monkeypatch.setattr(module, "forecast", lambda ready: brief)
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_here(
        monkeypatch, capsys, "launch", "hyperiqa", "--preset", "smoke", "--dry-run", "--price", "36"
    )
    assert code == 0 and list(tmp_path.iterdir()) == []
    assert "the λ=0 baseline and 2 trials" in out and "GB are free" in out and "nothing was started" in out
    (money,) = re.findall(r"money: about ([\d.]+), at 36 an hour", out)
    assert float(money) == pytest.approx(brief.seconds / 100, abs=0.01)
    _, out, _ = run_here(monkeypatch, capsys, "launch", "hyperiqa", "--preset", "smoke", "--dry-run")
    assert "money" not in out


def test_everything_that_is_missing_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    wrong = ["--weights", "/nowhere/hyper.pth", "--data", "csv:/nowhere/manifest.csv", "--name", "a/b"]
    code, _, error = run_here(monkeypatch, capsys, "launch", "hyperiqa", *wrong, "--dry-run", "--studies", tmp_path)
    assert code == 2 and error.count("\n") == 1
    for part in ("'a/b' cannot name a study", "/nowhere/hyper.pth", "/nowhere/manifest.csv"):
        assert part in error
    assert error.count("/nowhere/manifest.csv") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_price_without_a_dry_run_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, error = run_here(monkeypatch, capsys, "launch", "hyperiqa", "--price", "2", "--studies", tmp_path)
    assert code == 2 and "--dry-run" in error
