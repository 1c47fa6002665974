"""docs/performance.md's tables are made of what was measured."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import tables


def test_the_page_holds_the_tables_of_the_results() -> None:
    page = tables.PAGE.read_text(encoding="utf-8")
    assert page == tables.with_tables(page, tables.made()), "make bench, or python -m benchmarks.tables"


def test_ratios_are_within_one_run_and_what_was_not_measured_is_a_dash(tmp_path: Path) -> None:
    took = {"eager conv_tf32": 80.0, "graph bf16": 16.0, "authors bf16": 120.0}
    steps = {key: {"median": value, "low": value - 1, "high": value + 1} for key, value in took.items()}
    card = {
        "torch": "2.11",
        "device": "a card",
        "steps/hyperiqa_b16/nt": {**steps, "graph tf32": {"failed": "not recorded"}, "views_per_s_of_best": 1000.0},
        "attacks/input_gradients_per_s/b64": {"conv_tf32": 470.2, "bf16": 3025.0},
        "attacks/input_gradients_per_s/b256": {"skipped": "out of time"},
    }
    (tmp_path / "a-card.json").write_text(json.dumps(card), encoding="utf-8")
    (tmp_path / "cpu-try.json").write_text("not looked at", encoding="utf-8")
    lines = tables.made(tmp_path).splitlines()
    assert "| a card, torch 2.11 | hyperiqa, 16 | 80.0 (79.0 to 81.0) | 1.50× | – | graph bf16, 0.20× |" in lines
    assert "| a card, torch 2.11 | 64 | 470 | bf16, 3025 |" in lines
    assert not any("256" in line for line in lines)
