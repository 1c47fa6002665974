"""File names that a spreadsheet would run as formulas."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from trainables.data.manifest import read_manifest
from trainables.trust import as_cell, from_cell

FORMULAS = ["=HYPERLINK(1)", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\tx", "\r=1", "=", "'=1", "''@x", "＝1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_a_text_and_comes_back(text: str) -> None:
    assert as_cell(text)[0] == "'" and from_cell(as_cell(text)) == text


@pytest.mark.parametrize("value", ["photo.jpg", "'quoted'", "-1.5", "+1e-3", -1.5, 3, None, "", "a=b"])
def test_numbers_and_other_texts_stay_as_they_are(value: object) -> None:
    assert as_cell(value) is value
    assert not isinstance(value, str) or from_cell(value) == value


def test_our_reader_takes_a_table_that_we_wrote(tmp_path: Path) -> None:
    names = ["=1+1.png", "plain.png", "-x.png"]
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "mos"])
        writer.writerows([as_cell(name), 50] for name in names)
    assert list(read_manifest(tmp_path / "manifest.csv").table["path"]) == names
