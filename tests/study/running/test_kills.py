"""Studies whose driver is killed at random moments end as if it had not: benchmarks/search/kills.py, in short."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from benchmarks.search.kills import drive, optuna_values, problems_of, run_and_kill, write_study_file
from study.storage.directory import StudyDirectory

KILLS = 1


@pytest.mark.slow
def test_nothing_is_lost_doubled_or_changed_by_kills(tmp_path: Path) -> None:
    study_file = write_study_file(tmp_path)
    straight = StudyDirectory(tmp_path / "studies" / "straight")
    started = time.monotonic()
    assert drive(study_file, straight, None)
    latest = time.monotonic() - started
    reference = optuna_values(straight, [])
    assert problems_of(straight, reference) == []
    moments, kills = random.Random(1), 0
    while kills < KILLS:
        directory = StudyDirectory(tmp_path / "studies" / f"killed-{kills}")
        kills += run_and_kill(study_file, directory, moments, KILLS - kills, latest).kills
        assert problems_of(directory, reference) == []
