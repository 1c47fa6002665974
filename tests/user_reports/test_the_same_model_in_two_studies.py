"""`report mine demo`, where both hold the same models, counted two results."""

from __future__ import annotations

import shutil
from pathlib import Path

from written_study import write_study

from analysis.averages import average_table
from analysis.findings import findings
from analysis.report import report_pairs
from study.commands.report import _result
from study.storage.directory import StudyDirectory


def test_identical_models_count_once(tmp_path: Path) -> None:
    demo = write_study(tmp_path, "demo")
    shutil.copytree(demo.path, tmp_path / "mine")
    both = [_result(demo), _result(StudyDirectory(tmp_path / "mine"))]

    def counted(count: int) -> dict[str, int]:
        results = both[:count]
        return {one.statement: len(one.evidence) for one in findings(report_pairs(results), results)}

    assert counted(2) == counted(1) and sum(counted(1).values()) > 3
    one, two = (dict(average_table(report_pairs(both[:count]), "test").rows) for count in (1, 2))
    assert one["mean over models and attacks"] == two["mean over models and attacks"]
