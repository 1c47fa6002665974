"""`score --out new/scores.csv` scored a thousand photographs and then had no folder; `--out=~/x` made a folder `~`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from study.export import reading
from study.storage.directory import StudyDirectory

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.new("RGB", (70, 90), "grey").save(tmp_path / "A.JPG")
    return tmp_path


def test_a_folder_that_does_not_exist_is_made(nt: Command, knee: Path, home: Path) -> None:
    code, _, said = nt("score", knee, "~/A.JPG", "--out=~/new/deep/scores.csv")
    assert code == 0, said
    assert "A.JPG" in (home / "new" / "deep" / "scores.csv").read_text(encoding="utf-8")
    assert list((home / "work").iterdir()) == []


def test_a_place_that_is_no_file_is_refused_before_anything_is_scored(
    nt: Command, knee: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "score", lambda *_: pytest.fail("scored in vain"))
    assert "it is a folder; name a file in it" in nt("score", knee, "~/A.JPG", "--out", home / "work")[2]
    assert "cannot write" in nt("score", knee, "~/A.JPG", "--out", home / "A.JPG" / "scores.csv")[2]


def test_the_home_of_studies_and_exports(nt: Command, weighted_study: StudyDirectory, home: Path) -> None:
    (home / "studies").symlink_to(weighted_study.path.parent)
    code, _, said = nt("export", weighted_study.name, "--studies=~/studies", "--out=~/taken home", "--pick", "knee")
    assert code == 0, said
    assert (home / "taken home" / "config.json").exists()
    assert list((home / "work").iterdir()) == []
