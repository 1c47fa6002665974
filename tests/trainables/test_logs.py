"""Log files on disks that fail."""

import logging
from pathlib import Path

import pytest

from trainables.logs import LogFile


def line(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("a.library", logging.ERROR, "file.py", 1, message, arguments, None)


@pytest.mark.parametrize("path", ["/dev/full", "/proc/none/trial.log"])
def test_a_disk_without_room_and_a_file_that_cannot_be_opened_cost_the_line_and_nothing_else(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = LogFile(Path(path))
    handler.handle(line("epoch %d", 3))
    handler.close()
    assert capsys.readouterr().err == ""


def test_a_mistake_in_a_log_call_is_still_seen_and_secrets_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = LogFile(tmp_path / "trial.log")
    handler.handle(line("%d epochs", "three"))
    handler.handle(line("no answer from %s", "http://me:secret@host/"))
    handler.close()
    assert "Logging error" in capsys.readouterr().err
    said = (tmp_path / "trial.log").read_text(encoding="utf-8")
    assert "no answer from http://me:" in said and "secret" not in said
