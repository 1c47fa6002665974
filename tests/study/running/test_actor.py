"""A trial's process ends once the trial has been started elsewhere, as after a cut network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from object_store import ObjectStore

from study.errors import StudyError
from study.running.actor import STARTS, check_latest
from study.storage.directory import StudyDirectory
from study.storage.mirror import studies_folder

FIRST = {"host": "silent", "epochs_before": 0, "time": 1.0}
SECOND = {"host": "other", "epochs_before": 3, "time": 2.0}


def note(directory: StudyDirectory, start: dict[str, Any]) -> None:
    """As `note_start`, which asks Ray what to note."""
    directory.fetch_file("t001", STARTS)
    directory.trial("t001").mkdir(parents=True, exist_ok=True)
    with (directory.trial("t001") / STARTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(start) + "\n")
    directory.send_file("t001", STARTS)


def check_only_the_latest_goes_on(here: StudyDirectory, there: StudyDirectory) -> None:
    note(here, FIRST)
    check_latest(here, "t001", FIRST)
    note(there, SECOND)
    check_latest(there, "t001", SECOND)
    with pytest.raises(StudyError, match="trial t001 was started again on other, so it ends here"):
        check_latest(here, "t001", FIRST)


def test_only_the_latest_start_goes_on_in_a_shared_folder(tmp_path: Path) -> None:
    check_only_the_latest_goes_on(StudyDirectory(tmp_path / "s"), StudyDirectory(tmp_path / "s"))


def test_only_the_latest_start_goes_on_in_a_bucket(
    object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = object_store.fresh(monkeypatch) + "/studies"
    nodes = []
    for name in ("here", "there"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        nodes.append(StudyDirectory(studies_folder(address, copy="trials") / "s"))
        assert nodes[-1].mirror is not None, "a node looks in its own cache, and remembers"
    check_only_the_latest_goes_on(*nodes)
