"""The command line in the tests' own process: the same code as `nt-study`, without a start-up's seconds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from study.cli import main


def run_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `nt-study ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["nt-study", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    return int(stopped.value.code or 0), said.out, said.err
