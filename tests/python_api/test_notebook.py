"""The notebook of docs/notebooks is run as it stands there, in an empty folder."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "first-study.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell and return its last expression's value, which a notebook shows."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if isinstance(last, ast.Expr) else None  # noqa: S307


@pytest.mark.slow
def test_the_first_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    names: dict[str, Any] = {}
    shown = [run_cell("".join(cell["source"]), names) for cell in CELLS]
    assert repr(shown[0]) == "Study('first', 'studies/first')"
    assert set(names["trials"]["state"]) == {"complete"} and len(names["front"]) >= 2
    assert names["moved"]["most robust"] < names["moved"]["baseline"], "as the text says"
    assert shown[-1].empty, "as the text says"


def test_its_results_are_kept_and_have_no_error() -> None:
    for cell in CELLS:
        assert cell["execution_count"] and cell["outputs"]
        assert all(output["output_type"] != "error" for output in cell["outputs"])
    assert NOTEBOOK.stat().st_size < 200_000
