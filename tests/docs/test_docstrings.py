"""What `make lint` finds in docstrings."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from docstrings import complaints, main, words_of

MODULE = '''
def attack(images, eps=0.005):
    """Attack `images` with {attack}.

    images: (N, 3, H, W). {name}: in [0, 1] pixels. Raises {error} where one is empty: that is no parameter.
    """


class Attack:
    """eps, {field}: as above."""

    eps: float
    """As `attack`, see `{quoted}`."""
    steps: int
'''
GOOD = {"attack": "`eps`", "name": "eps", "error": "ValueError", "field": "steps", "quoted": "Attack.eps"}


def found(**changes: str) -> list[str]:
    tree = ast.parse(MODULE.format(**{**GOOD, **changes}))
    return [sentence for _, sentence in complaints(tree, words_of(tree))]


def test_prose_that_agrees_is_left_alone() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "epsilon"}, "attack describes 'epsilon'"),
        ({"field": "step"}, "Attack describes 'step'"),
        ({"error": "StudyFailedError"}, "StudyFailedError"),
        ({"attack": "`epsilon`"}, "epsilon"),
        ({"quoted": "Attack.epsilon"}, "Attack.epsilon"),
    ],
)
def test_what_a_change_of_names_left_behind_is_found(changes: dict[str, str], said: str) -> None:
    (sentence,) = found(**changes)
    assert said in sentence


def test_a_complaint_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.py").write_text(MODULE.format(**{**GOOD, "name": "epsilon"}), encoding="utf-8")
    assert main([str(tmp_path)]) == 1
    assert f"{tmp_path}/bad.py:2: attack describes" in capsys.readouterr().out
