"""Help promised scores of 0 to 100, and a photograph unlike those of the training got 108.3 without a word."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image

from trainables.record import WEIGHTS

Command = Callable[..., tuple[int, str, str]]
NOTE = "outside 0 to 100, the scale of the images it was trained on"


@pytest.fixture
def generous(knee: Path, tmp_path: Path) -> Path:
    """An export of a model that gives every image of one grey 250 points, and an image of another grey fewer."""
    folder = shutil.copytree(knee, tmp_path / "generous")
    state = safetensors.torch.load_file(folder / WEIGHTS)
    state["scale"], state["offset"] = torch.tensor(0.0), torch.tensor(250.0)
    safetensors.torch.save_file(state, folder / WEIGHTS)
    config = json.loads((folder / "config.json").read_text())
    config["sha256"] = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (70, 90), "grey").save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_flagged_in_the_table_on_the_terminal_and_in_files(
    nt: Command, generous: Path, photo: Path, tmp_path: Path
) -> None:
    code, out, said = nt("score", generous, photo)
    (row,) = csv.DictReader(out.splitlines())
    assert code == 0 and float(row["score"]) == 250.0 and row["note"] == NOTE
    assert f"1 of 1 scores are {NOTE}" in said
    nt("score", generous, photo, "--out", tmp_path / "scores.csv")
    assert NOTE in (tmp_path / "scores.csv").read_text(encoding="utf-8")
    _, out, _ = nt("score", generous, photo, "--json")
    assert json.loads(out)["scores"][0]["note"] == NOTE


def test_a_score_on_the_scale_is_not_flagged(nt: Command, knee: Path, photo: Path) -> None:
    _, out, said = nt("score", knee, photo)
    (row,) = csv.DictReader(out.splitlines())
    assert 0 <= float(row["score"]) <= 100 and row["note"] == ""
    assert "outside" not in said


def test_help_says_what_the_scale_is(nt: Command) -> None:
    _, out, _ = nt("score", "--help")
    said = " ".join(out.replace("│", " ").split())
    assert "The scale is 0 to 100" in said and "It is no bound" in said and 'flagged in the column "note"' in said
