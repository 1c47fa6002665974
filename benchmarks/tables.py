"""docs/performance.md's tables, made of what `benchmarks/gpu.py` measured: python -m benchmarks.tables [--check]

Every machine has a file in `benchmarks/results/`; what it did not measure is a dash.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- made by benchmarks/tables.py -->", "<!-- end of what is made -->"
DASH = "–"
DEFAULT = "conv_tf32"
"""The precision that recipes have by default; on a processor it is float32."""
STEPS = ("machine", "network, batch", "NT step, ms", "authors' form", "without NT", "fastest")
GRADIENTS = ("machine", "images at once", "input gradients a second", "fastest")


def made(results: Path = RESULTS) -> str:
    """Both tables as Markdown, the machines by name."""
    machines = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(results.glob("*.json"))
        if not path.stem.endswith("-try")
    ]
    return "\n".join([*_table(STEPS, machines, _steps), "", *_table(GRADIENTS, machines, _gradients)])


def _table(head: tuple[str, ...], machines: list[dict[str, Any]], rows: Any) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return lines + [f"| {_machine(one)} | {' | '.join(cells)} |" for one in machines for cells in rows(one)]


def _machine(found: Mapping[str, Any]) -> str:
    threads = f", {found['threads']} thread{'s' * (found['threads'] > 1)}" if found["device"] == "cpu" else ""
    return f"{found['device']}{threads}, torch {found['torch']}"


def _steps(found: Mapping[str, Any]) -> list[list[str]]:
    """NT's eager step with its range over the rounds; the others as multiples of its median."""
    rows = []
    for name, item in found.items():
        part, _, kind = name.removeprefix("steps/").rpartition("/")
        if not name.startswith("steps/") or kind != "nt" or f"eager {DEFAULT}" not in item:
            continue
        model, _, batch = part.rpartition("_b")
        step = item[f"eager {DEFAULT}"]
        medians = {key: value["median"] for key, value in item.items() if isinstance(value, dict) and "median" in value}
        authors = min((value for key, value in medians.items() if key.startswith("authors ")), default=None)
        ours = {key: value for key, value in medians.items() if not key.startswith(("authors ", "plain "))}
        fastest = min(ours, key=lambda key: ours[key])
        rows.append(
            [
                f"{model}, {batch}",
                f"{step['median']:.1f} ({step['low']:.1f} to {step['high']:.1f})",
                _times(authors, step["median"]),
                _times(medians.get(f"plain {DEFAULT}"), step["median"]),
                f"{fastest.removesuffix(f' {DEFAULT}')}, {_times(ours[fastest], step['median'])}",
            ]
        )
    return rows


def _gradients(found: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for name, item in found.items():
        if not name.startswith("attacks/input_gradients_per_s/b"):
            continue
        rates = {key: value for key, value in item.items() if isinstance(value, float)}
        if rates:
            fastest = max(rates, key=lambda key: rates[key])
            now = f"{rates[DEFAULT]:.0f}" if DEFAULT in rates else DASH
            best = "the same" if fastest == DEFAULT else f"{fastest}, {rates[fastest]:.0f}"
            rows.append([name.rpartition("/b")[2], now, best])
    return rows


def _times(value: float | None, of: float) -> str:
    return DASH if value is None else f"{value / of:.2f}×"


def with_tables(page: str, tables: str) -> str:
    """The page with what stands between its two marks replaced."""
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n\n{tables}\n\n{END}", page, flags=re.S)


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    wanted = with_tables(page, made())
    if "--check" in sys.argv:
        sys.exit(None if page == wanted else "docs/performance.md is older than benchmarks/results: make bench")
    PAGE.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
