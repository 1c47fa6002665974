"""A message in mid-run suggested `nt-study sync dmg`, which lacked `--studies` and so found no study when pasted."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run_here
from rich.console import Console
from written_study import write_study

from study.commands.front import show_end
from study.commands.suite import verdicts
from study.errors import StudyError
from study.storage.directory import StudyDirectory, check_new
from study.suggest import command
from study.tracking.tracker import Tracker

PLACES = ["my studies (ümläut)/[1]", "$HOME's", "studies"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=PLACES)
def study(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyDirectory:
    """A study in a relative folder of a user's, whose name a shell would take apart."""
    monkeypatch.chdir(tmp_path)
    return write_study(Path(request.param), "dmg", ends=("complete", "failed"))


def test_what_is_suggested_finds_the_study_when_pasted(
    study: StudyDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    tracker = Tracker(study, warn=said.append)
    tracker.problem = "down"
    tracker._thread.run = lambda: None  # type: ignore[method-assign]
    tracker._thread.start()
    tracker.close()
    with pytest.raises(StudyError) as taken:
        check_new(study.path.parent, "dmg")
    with study.locked(), pytest.raises(StudyError) as held, study.locked():
        pass
    console = Console(file=io.StringIO(), width=80)
    show_end(study, console)
    text = [*said, str(taken.value), str(held.value), console.file.getvalue()]  # type: ignore[attr-defined]
    text += verdicts({}, 2, study)
    suggested = [found for one in text for found in commands_in(one)]
    assert {words[1] for words in suggested} >= {"sync", "resume", "status", "stop", "export", "ui"}
    for words in suggested:
        option = words.index("--studies") if "--studies" in words else None
        place = Path("studies") if option is None else Path(words[option + 1])
        assert (place / words[2] / "study.yaml").exists(), words
    code, out, _ = run_here(monkeypatch, capsys, *shlex.split(study.command("status"))[1:])
    assert code == 0 and "dmg" in out


def commands_in(text: str) -> list[list[str]]:
    """Every suggestion, as a shell takes it apart: to the end of its line, or of its back quotes."""
    quoted = re.findall(r"`(nt-study [^`]*)`", text)
    bare = re.findall(r"(?<!`)nt-study (?:[^`\n]|(?<=')`)*", re.sub(r"`[^`]*`", "", text))
    return [shlex.split(re.split(r"\s{2,}", one)[0]) for one in [*quoted, *bare] if one.split()[1] != "launch"]


def test_the_program_is_called_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "a venv" / "nt-study"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert shlex.split(command("list"))[0] == str(program)
    monkeypatch.setenv("PATH", str(program.parent))
    assert command("list") == "nt-study list"
    monkeypatch.setattr(sys, "argv", ["/elsewhere/study/cli.py"])
    assert shlex.split(command("list"))[:3] == [sys.executable, "-m", "study.cli"]


def test_the_source_suggests_no_command_by_hand() -> None:
    """Messages call `study.suggest.command`; what stays is placeholders in capitals, docstrings and help."""
    found = subprocess.run(
        ["git", "grep", "-nE", r"nt-study [a-z]+ \{", "--", "study", "trainables", "analysis", "search_spaces"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""
