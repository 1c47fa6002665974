"""`audit` without a suite said "0 of 0 audited trials give no reason to doubt their robustness"."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run_here
from written_study import write_study


def test_it_says_that_nothing_was_audited_and_how_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    directory = write_study(tmp_path, "own")
    study_file = directory.read_study_file()
    directory.write_study_file(study_file.model_copy(update={"suite": {"uap": {"name": "uap"}}}))
    code, said, _ = run_here(monkeypatch, capsys, "audit", "own", "--studies", tmp_path)
    assert code == 0
    assert said.startswith("nothing was audited") and f"nt-study suite own --studies {tmp_path}" in said
    run_here(monkeypatch, capsys, "report", "own", "--studies", tmp_path, "--out", tmp_path / "report")
    assert "nothing was audited" in (tmp_path / "report" / "findings.md").read_text(encoding="utf-8")
