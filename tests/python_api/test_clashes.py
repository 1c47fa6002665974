"""Packages called `study` or `analysis` are many: another one that comes first is named, instead of failing oddly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nt_study
from nt_study.rooms import ROOMS, check_rooms

ROOT = Path(__file__).parents[2]


def test_our_own_are_found() -> None:
    check_rooms()


@pytest.mark.parametrize("name", ROOMS)
@pytest.mark.parametrize("is_package", [True, False])
def test_another_package_of_the_name_is_said(name: str, is_package: bool, tmp_path: Path) -> None:
    other = tmp_path / name / "__init__.py" if is_package else tmp_path / f"{name}.py"
    other.parent.mkdir(exist_ok=True)
    other.write_text("")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    ran = subprocess.run(
        [sys.executable, "-m", "nt_study", "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2 and ran.stdout == ""
    assert ran.stderr.count("\n") == 1 and f"{name!r}" in ran.stderr and str(tmp_path) in ran.stderr


def test_a_notebook_beside_another_package_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="environment of its own"):
        check_rooms(tmp_path)
    assert "open_study" in dir(nt_study)
