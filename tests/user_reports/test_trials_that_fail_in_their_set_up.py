"""All trials failed before they had written anything: `status` counted 0 failed and 41 waiting, and no reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import run_here
from written_study import write_study


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """A study whose trials left nothing but their ends, as a study of an older version has it."""
    directory = write_study(tmp_path, "own", baseline="failed", ends=("failed", "failed"))
    for trial in ("baseline", "t000", "t001"):
        for name in ("config.json", "epochs.jsonl"):
            (directory.trial(trial) / name).unlink()
    return tmp_path


def test_they_are_counted_as_failed_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], studies: Path
) -> None:
    _, said, warned = run_here(monkeypatch, capsys, "status", "own", "--json", "--studies", studies)
    facts = json.loads(said)
    assert facts["states"] == {"complete": 0, "pruned": 0, "failed": 3, "running": 0, "waiting": 0}
    assert {trial["reason"] for trial in facts["trials"]} == {"RuntimeError: out of memory"}
    assert "plot" not in facts["places"] and warned == ""
    _, said, _ = run_here(monkeypatch, capsys, "status", "own", "--studies", studies)
    assert "3 failed" in said and "out of memory" in said and "plot:" not in said
    _, said, _ = run_here(monkeypatch, capsys, "list", "--studies", studies)
    assert "3 failed" in said and "waiting" not in said
