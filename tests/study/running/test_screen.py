"""What a launch and `status --watch` show: bars, the front so far, and a time left that can be planned by."""

from __future__ import annotations

import heapq
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import run_here
from rich.console import Console
from written_study import write_study

from study.commands import status
from study.running.eta import Timed, time_left
from study.running.screen import plot, row_of, screen
from study.running.waiting import waiting
from study.storage.directory import StudyDirectory
from study.storage.summaries import summarise

SHAPES = {
    # baseline's epochs, NT epochs, seconds of a plain and an NT epoch, of a record; trials, mixtures, at a time
    "demo": (12, 2, 4.3, 8.5, 6.0, 6, 12, 2),
    "smoke": (4, 1, 4.5, 9.0, 6.0, 2, 0, 2),
    "paper": (16, 16, 300.0, 620.0, 200.0, 40, 0, 1),
    "cluster": (16, 16, 300.0, 620.0, 200.0, 40, 0, 16),
    "laptop": (3, 1, 90.0, 200.0, 60.0, 8, 8, 2),
    "demo on busy processors": (12, 2, 6.5, 10.4, 6.0, 6, 12, 2),
}


def played(shape: tuple[float, ...], share: float, baseline_first: bool) -> tuple[list[Timed], float]:
    """What is known of a study after a share of its time, and what is really left."""
    first, epochs, plain, cost, record, trials, mixtures, slots = (
        int(n) if float(n).is_integer() else n for n in shape
    )
    begun = first * plain + record if baseline_first else 0.0
    free = [begun] * int(slots)
    jobs: list[tuple[float, float, float, int]] = [(0.0, plain, record, int(first))]
    if not baseline_first:
        heapq.heapreplace(free, first * plain + record)
    for _ in range(int(trials)):
        start = heapq.heappop(free)
        heapq.heappush(free, start + epochs * cost + record)
        jobs.append((start, cost, record, int(epochs)))
    whole = max(free) + -(-mixtures // slots) * record
    now = share * whole
    known = []
    for number, (start, pace, extra, count) in enumerate(jobs):
        if start > now:
            continue
        done = min(count, int((now - start) // pace))
        timed = Timed(done, count, number == 0, now >= start + count * pace + extra, [pace] * done)
        if timed.has_ended:
            timed.epoch_seconds[-1] += extra  # as Ray Tune times it
            timed.settle(record)
        elif done == count:
            timed.epoch, timed.epoch_seconds = count - 1, [pace] * (count - 1)  # the step that makes the record runs
        known.append(timed)
    return known, whole - now


@pytest.mark.parametrize("baseline_first", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_time_left_is_right_within_a_third_after_a_quarter_of_the_work(
    shape: str, share: float, baseline_first: bool
) -> None:
    _, epochs, _, _, _, trials, mixtures, slots = SHAPES[shape]
    known, left = played(SHAPES[shape], share, baseline_first)
    found = time_left(
        known,
        asked=int(trials),
        epochs=int(epochs),
        mixtures=int(mixtures),
        at_a_time=int(slots),
        baseline_first=baseline_first,
    )
    assert found is not None
    step = max(SHAPES[shape][2:5])  # what is under way is not seen before it ends
    assert abs(found[0] - left) <= left / 3 + step, (found, left)
    assert 0 < found[1] <= found[0] / 3 + 1e-9


def test_nothing_is_estimated_before_an_epoch_is_timed() -> None:
    assert time_left([Timed(0, 12, True)], asked=6, epochs=2, mixtures=0, at_a_time=2, baseline_first=True) is None


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
