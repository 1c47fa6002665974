"""A folder was copied from a Mac or a PC, with what these leave beside photographs."""

from __future__ import annotations

from pathlib import Path

from release_fixtures import write_bid, write_image

from study.export.reading import find_images
from trainables.data import open_dataset


def add_litter(folder: Path, beside: str) -> None:
    (folder / f"._{beside}").write_bytes(b"\x00\x05\x16\x07 Mac OS X")
    (folder / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")


def test_they_are_no_images_without_a_score(tmp_path: Path) -> None:
    root = write_bid(tmp_path / "bid")
    add_litter(root, "DatabaseImage0001.JPG")
    assert len(open_dataset(f"bid:{root}", cache_dir=tmp_path / "cache").table) == 6


def test_they_are_not_scored(tmp_path: Path) -> None:
    write_image(tmp_path / "photo.jpg")
    add_litter(tmp_path, "photo.jpg")
    assert list(find_images([tmp_path])) == [tmp_path / "photo.jpg"]
