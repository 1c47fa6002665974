"""What docs/reliability.md says was done is what the record holds."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.torture.__main__ import table_of

ROOT = Path(__file__).parents[2]


def test_the_table_is_made_of_the_record() -> None:
    record = (ROOT / "benchmarks" / "torture" / "record.jsonl").read_text(encoding="utf-8")
    table = table_of([json.loads(line) for line in record.splitlines()])
    assert table in (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert "/site-packages" not in record
