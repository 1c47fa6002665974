"""`report mine demo`, where both hold the same models, counted two results."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from command_line import run_here
from written_study import write_study


def test_identical_models_count_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    demo = write_study(tmp_path, "demo")
    shutil.copytree(demo.path, tmp_path / "mine")

    def counted(*studies: str) -> list[str]:
        out = tmp_path / "-".join(studies)
        code, _, said = run_here(monkeypatch, capsys, "report", *studies, "--studies", tmp_path, "--out", out)
        assert code == 0, said
        return re.findall(
            r"(?m)^\|[^|\n]+\|[^|\n]+((?:\| \d+ )+\|)$", (out / "findings.md").read_text(encoding="utf-8")
        )

    alone = counted("demo")
    assert alone and counted("mine", "demo") == alone
