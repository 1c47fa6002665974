"""A little of `python -m benchmarks.torture`: nothing is lost, doubled or changed by what ends a driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.torture.__main__ import Torture

pytestmark = pytest.mark.slow


def test_a_study_outlives_whatever_ends_its_driver(tmp_path: Path) -> None:
    torture = Torture(tmp_path / "torture.jsonl", seed=0)
    torture.latest /= 2  # so that no run comes to its end before its blow
    torture.hurt(["SIGKILL: raylet", "SIGKILL: driver", "Ctrl-C", "race"])
    assert len(torture.lines) >= 3
    assert [line["problems"] for line in torture.lines if line["problems"]] == []
