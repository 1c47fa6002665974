"""A release was unpacked as it came: smaller images, one of two tables, a folder more or less, another case."""

from __future__ import annotations

from pathlib import Path

import pytest
from release_fixtures import (
    WRITERS,
    livec_labels,
    write_kadid10k,
    write_koniq10k,
    write_livec,
)

from trainables.data import open_dataset
from trainables.data.image_set import ImageSet
from trainables.data.koniq10k import SCORES, SETS
from trainables.data.split import split_table


def opened(name: str, place: Path) -> ImageSet:
    return open_dataset(f"{name}:{place}", cache_dir=place.parent / "cache")


def test_koniq_of_512x384_pixels_with_either_table(tmp_path: Path) -> None:
    root = write_koniq10k(tmp_path / "koniq", folder="512x384")
    scores = (root / SCORES).read_bytes()
    (root / SCORES).unlink()
    only_sets = opened("koniq10k", root)
    assert only_sets.table["mos"].tolist()[:2] == pytest.approx([1.5, 1.5 + 3 / 9])
    assert split_table(only_sets.table, seed=0)["split"].tolist()[-2:] == ["test"] * 2
    (root / SETS).unlink()
    (root / SCORES).write_bytes(scores)
    only_scores = opened("koniq10k", root)
    assert only_scores.table["mos"].tolist()[0] == 12 and "split" not in only_scores.table
    (root / SCORES).unlink()
    with pytest.raises(ValueError, match=f"has neither {SCORES} .the scores. nor {SETS} .the official split"):
        opened("koniq10k", root)


def test_koniq_without_images_is_told_where_they_go(tmp_path: Path) -> None:
    root = write_koniq10k(tmp_path / "koniq", folder="images")
    with pytest.raises(ValueError, match="has no folder 1024x768 or 512x384 with the images; unpack them into it"):
        opened("koniq10k", root)


@pytest.mark.parametrize("name", ["koniq10k", "kadid10k", "spaq", "csiq", "biq2021"])
def test_an_archive_with_a_folder_of_its_own(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / "download" / "of its own")
    (tmp_path / "download" / "__MACOSX").mkdir()
    assert len(opened(name, tmp_path / "download").table) > 0


def test_an_archive_that_is_still_one(tmp_path: Path) -> None:
    (tmp_path / "livec.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"livec\.zip is a file; unpack the release"):
        opened("livec", tmp_path / "livec.zip")


def test_a_folder_in_another_case(tmp_path: Path) -> None:
    root = write_kadid10k(tmp_path / "kadid")
    (root / "images").rename(root / "Images")
    assert len(opened("kadid10k", root).table) == 75


def test_a_file_of_livec_that_is_missing_is_told_with_what_it_is_for(tmp_path: Path) -> None:
    root = write_livec(tmp_path / "livec", livec_labels().head(3))
    (root / "Data" / "AllStdDev_release.mat").unlink()
    with pytest.raises(ValueError, match=r"has no Data/AllStdDev_release\.mat, which holds the scores' deviations"):
        opened("livec", root)
