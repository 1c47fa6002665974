"""The way in: versions, help, completion, and how much is said."""

from __future__ import annotations

import inspect
import logging
import os
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import run_here
from written_study import write_study

from study import cli
from study.commands.menu import COMMANDS, EXIT_CODES, GROUPS, PANELS, function_of
from study.storage.directory import StudyDirectory

HEAVY = ("torch", "ray", "optuna", "mlflow", "numpy", "pandas")


@pytest.fixture
def study(tmp_path: Path) -> StudyDirectory:
    return write_study(tmp_path, "written")


def test_versions_are_those_of_the_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run_here(monkeypatch, capsys, "--version")
    assert code == 0
    assert out.splitlines()[0].startswith(f"nt-study {version('nt-study')} (Python 3.")
    assert out.splitlines()[1:] == [f"{name} {version(name)}" for name in ("torch", "ray", "optuna", "mlflow")]


def test_help_and_versions_import_nothing_heavy() -> None:
    script = (
        "import sys\nfrom study.cli import main\n"
        f"try:\n    main()\nexcept SystemExit:\n    sys.exit(','.join(set({HEAVY}) & set(sys.modules)) or None)"
    )
    for arguments in (["--version"], ["--help"], ["launch", "--help"]):
        ran = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
        assert ran.returncode == 0 and not ran.stderr


def test_help_groups_every_command_by_what_one_wants(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run_here(monkeypatch, capsys, "--help")
    shown = [out.index(panel) for panel in PANELS]
    assert shown == sorted(shown)
    assert all(f"│ {name.split()[0]} " in out for name in COMMANDS)
    assert set(GROUPS) == {name.split()[0] for name in COMMANDS if " " in name}
    assert all(f"{code:3}  {meaning}" in out for code, meaning in EXIT_CODES.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples_that_the_parser_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    _, out, _ = run_here(monkeypatch, capsys, *name.split(), "--help")
    assert COMMANDS[name].examples and inspect.getdoc(function_of(name))
    for example in COMMANDS[name].examples:
        assert f"   nt-study {example}\n" in out
        assert shlex.split(example)[: len(name.split())] == name.split()
        _parse(typer.main.get_command(cli._app()), ["nt-study", *shlex.split(example)])


def _parse(command: Any, words: list[str], parent: Any = None) -> None:
    context = command.make_context(words[0], words[1:], parent=parent)
    if hasattr(command, "resolve_command"):
        name, found, after = command.resolve_command(context, [*context._protected_args, *context.args])
        _parse(found, [name, *after], context)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["lanch", "hyperiqa"], "launch"),
        (["data", "chekc", "photos"], "check"),
        (["launch", "hyperiqa", "--trails", "3"], "--trials"),
        (["launch", "hyperiqa", "--sampler", "tpee"], "'tpe'"),
        (["launch", "hyperiqa", "--preset", "smok"], "'smoke'"),
        (["status", "writen"], "'written'"),
    ],
)
def test_a_near_miss_is_answered_with_what_was_meant(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    study: StudyDirectory,
    arguments: list[str],
    meant: str,
) -> None:
    monkeypatch.setenv("NT_STUDIES", str(study.path.parent))
    code, _, error = run_here(monkeypatch, capsys, *arguments)
    assert code == 2 and meant in error and "Traceback" not in error


def test_the_shell_completes_commands_options_and_names_of_studies(study: StudyDirectory) -> None:
    def completed(line: str) -> str:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_NT_STUDY_COMPLETE": "complete_bash"}
        program = [Path(sys.executable).with_name("nt-study")]
        return subprocess.run(
            program, env=os.environ | words, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert completed("nt-study sta") == "status"
    assert "--max-concurrent" in completed("nt-study launch --max")
    assert completed(f"nt-study status --studies {study.path.parent} wri") == "written"
    assert completed("nt-study status --studies /nowhere wri") == ""


def test_quiet_says_the_result_alone_and_verbose_the_log_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from study.commands import stop
    from study.commands.options import progress_terminal, terminal

    def said(name: str) -> None:
        progress_terminal().print("on the way")
        logging.getLogger("study.anything").info("opened postgresql://user:secret@host/db")
        terminal().print("result")

    monkeypatch.setattr(stop, "stop", said)

    def run(*options: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["nt-study", "stop", "mine", *options])
        with pytest.raises(SystemExit):
            cli.main()
        return capsys.readouterr()

    assert run() == ("on the way\nresult\n", "")
    assert run("-q") == ("result\n", "")
    out, log = run("--verbose")
    assert out == "on the way\nresult\n" and "opened postgresql://user:…@host/db" in log


def test_a_traceback_is_shown_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run_here(monkeypatch, capsys, "status", "none", "--studies", tmp_path)[0] == 2
    monkeypatch.setattr(sys, "argv", ["nt-study", "status", "none", "-vv", "--studies", str(tmp_path)])
    with pytest.raises(Exception, match="no study named 'none'"):
        cli.main()


def test_the_documented_exit_codes_are_those_of_the_help() -> None:
    page = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert all(f"| {code} | {meaning} |" in page for code, meaning in EXIT_CODES.items())
