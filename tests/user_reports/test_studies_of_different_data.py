"""`compare` laid studies of different data over each other, and `report` refused the same pair in other words."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run_here
from written_study import write_study

from study.storage.directory import StudyDirectory


def set_data(directory: StudyDirectory, data: dict[str, str]) -> None:
    environment = directory.read_json("environment.json")
    directory.write_json("environment.json", {**environment, "data": {**environment["data"], **data}})


@pytest.mark.parametrize("fingerprint", ["1" * 64, ""])
def test_compare_and_report_refuse_them_in_the_same_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, fingerprint: str
) -> None:
    write_study(tmp_path, "own")
    set_data(write_study(tmp_path, "other"), {"fingerprint": fingerprint})
    said = [
        run_here(monkeypatch, capsys, command, "own", "other", "--studies", tmp_path, "--out", tmp_path / command)
        for command in ("compare", "report")
    ]
    assert said[0] == said[1]
    code, _, sentence = said[0]
    assert code == 2 and "other" in sentence and sentence.count("\n") == 1
    assert not (tmp_path / "compare").exists() and not (tmp_path / "report").exists()
