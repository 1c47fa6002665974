"""docs/audit.md says what the record of `python -m benchmarks.audit` holds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.audit.__main__ import RECORD, summary

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"


def test_the_table_is_the_record_s() -> None:
    record = pd.read_csv(RECORD)
    assert summary(record) in PAGE.read_text(encoding="utf-8")
    is_masked = record["mask"].notna()
    accused, missed = record["flags"].notna() & ~is_masked, record["flags"].isna() & is_masked
    said = (
        f"({accused.sum()} of {(~is_masked).sum()}), {is_masked.sum() - missed.sum()} of the {is_masked.sum()} masked"
    )
    assert said in PAGE.read_text(encoding="utf-8")
