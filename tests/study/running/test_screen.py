"""What a launch and `status --watch` show: bars, the front so far, and what is being waited for."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import run_here
from rich.console import Console
from written_study import write_study

from study.commands import status
from study.running.screen import plot, row_of, screen
from study.running.waiting import waiting
from study.storage.directory import StudyDirectory
from study.storage.summaries import summarise


def test_the_screen_has_bars_and_the_front_so_far(tmp_path: Path) -> None:
    trials = summarise(write_study(tmp_path, ends=("complete", "failed", "complete", "")))
    rows = {trial.trial: row_of(trial) for trial in trials}
    console = Console(file=io.StringIO(), width=100)
    console.print(screen(rows, "4 of 5 trials, about 20 s left"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "━━━━━━━━" in shown and "about 20 s left" in shown and "attacked RMSE" in shown
    assert plot(rows).count("★") == 1 and "●" in plot(rows)
    assert plot({"baseline": rows["baseline"]}) == ""


def test_a_study_is_watched_until_it_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    directory = write_study(tmp_path, "mine", ends=("complete", ""))
    looks: list[StudyDirectory] = []

    def wait(seconds: float) -> None:
        looks.append(directory)
        if len(looks) == 2:
            directory.write_result("t001", "complete")
            running.set()

    running, holding = threading.Event(), threading.Event()

    def hold() -> None:
        with directory.locked():
            holding.set()
            running.wait(30)

    monkeypatch.setattr(status.time, "sleep", wait)
    driver = threading.Thread(target=hold)
    driver.start()
    holding.wait(30)
    code, out, _ = run_here(monkeypatch, capsys, "status", "mine", "--watch", "--studies", tmp_path)
    driver.join()
    assert code == 0 and out.splitlines()[0].startswith("2 of 3 trials") and "not running" in out.splitlines()[-1]
    code, _, error = run_here(monkeypatch, capsys, "status", "--watch", "--studies", tmp_path)
    assert code == 2 and "name it" in error


@pytest.fixture
def pipe() -> Iterator[Console]:
    yield Console(file=io.StringIO(), width=80)


def test_a_long_wait_is_said_in_a_log_and_a_short_one_is_not(pipe: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    written = pipe.file
    assert isinstance(written, io.StringIO)
    with waiting(pipe, "looking at images"):
        pass
    assert written.getvalue() == ""
    monkeypatch.setattr("study.running.waiting.SILENT", 0.0)
    with waiting(pipe, "starting Ray"):
        while not written.getvalue():  # the test's own limit ends it otherwise
            pass
    assert written.getvalue() == "starting Ray …\n"


def test_a_wait_shows_at_once_on_a_terminal_with_what_it_has_come_to() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    with waiting(terminal, "attacking") as say:
        say("attacking: 1 of 2 done")
    assert "attacking" in terminal.file.getvalue()  # type: ignore[attr-defined]
