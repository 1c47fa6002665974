"""`score --out new/scores.csv` scored a thousand photographs and then had no folder; `--out=~/x` made a folder `~`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from study.errors import StudyError
from study.export import reading
from study.looking.written import write_pages
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


def test_what_others_wrote_is_not_written_over(
    nt: Command, knee: Path, weighted_study: StudyDirectory, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`score knee A.JPG --out A.JPG` made a table of the photograph; `attack --out` of a trial's record."""
    shutil.copytree(weighted_study.path.parent, home / "studies")
    shutil.copytree(knee, home / "knee")
    (home / "knee" / "thesis.tex").write_text("thesis")
    record = home / "studies" / weighted_study.name / "trials" / "t000" / "scores.parquet"
    (home / "own").mkdir()
    (home / "own" / "environment.json").write_text("{}")
    before = {file: file.read_bytes() for file in home.rglob("*") if file.is_file()}
    name, studies = weighted_study.name, ("--studies", home / "studies")
    monkeypatch.setattr(reading, "score", lambda *_: pytest.fail("scored in vain"))
    for words in (
        ("score", knee, home / "A.JPG", "--out", home / "A.JPG"),
        ("score", knee, home / "A.JPG", "--out", record.with_name("config.json")),
        ("attack", knee, "--out", record),
        ("attack", knee, "--out", home / "A.JPG"),
        ("export", name, *studies, "--out", home / "knee", "--force"),
        ("launch", "hyperiqa", "--preset", "smoke", "--name", "own", "--studies", home),
    ):
        code, _, said = nt(*words)
        assert code == 2 and ("not replaced" in said or "nothing is launched over it" in said), (words, said)
    assert {file: file.read_bytes() for file in before} == before


def test_what_a_command_wrote_it_replaces(nt: Command, knee: Path, home: Path) -> None:
    pages = {"report.html": b"<html><title>Report: x</title>", "tables/table_1.csv": b"a,b"}
    for _ in range(2):
        for end in ("csv", "json"):
            assert nt("score", knee, "~/A.JPG", f"--out=~/scores.{end}")[0] == 0
        write_pages(home / "page", pages, b"Report: ")
    (home / "page" / "report.html").write_text("<html>mine")
    with pytest.raises(StudyError, match=r"report\.html was not written by this command"):
        write_pages(home / "page", pages, b"Report: ")
    (home / "page" / "report.html").unlink()
    with pytest.raises(StudyError, match=r"table_1\.csv was not written by this command"):
        write_pages(home / "page", pages, b"Report: ")


def test_the_home_of_studies_and_exports(nt: Command, weighted_study: StudyDirectory, home: Path) -> None:
    (home / "studies").symlink_to(weighted_study.path.parent)
    code, _, said = nt("export", weighted_study.name, "--studies=~/studies", "--out=~/taken home", "--pick", "knee")
    assert code == 0, said
    assert (home / "taken home" / "config.json").exists()
    assert list((home / "work").iterdir()) == []
