"""Every release is read as it is published: names, scores, contents, splits, orientation of the scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from release_fixtures import (
    WRITERS,
    livec_labels,
    write_agiqa3k,
    write_koniq10k,
    write_livec,
    write_manifest,
)

from trainables.data import LABEL_READERS, open_dataset
from trainables.data.image_set import ImageSet
from trainables.data.split import MosScale, split_table


@pytest.fixture(scope="module")
def livec(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    folder = tmp_path_factory.mktemp("livec")
    return open_dataset(f"livec:{write_livec(folder / 'release')}", cache_dir=folder / "cache")


def test_livec_has_the_published_names_and_scores(livec: ImageSet) -> None:
    assert len(livec.table) == len(livec.store) == 1162
    pd.testing.assert_frame_equal(livec.table[["image", "mos", "std"]], livec_labels(), check_dtype=False)
    assert livec.table["image"].iloc[[0, 1, 25, 997]].tolist() == ["100.bmp", "101.bmp", "123.bmp", "1000.JPG"]
    assert (livec.table["image"].str.endswith(".JPG")).sum() == 627


def test_livec_authors_split_and_scale_are_the_papers(livec: ImageSet) -> None:
    rows = split_table(livec.table, seed=3, mode="authors")
    counts = rows["split"].value_counts()
    assert counts["test"] == 232
    assert counts["train"] + counts["validation"] == 930
    assert set(rows.loc[rows["image"].isin(["239.bmp", "785.JPG"]), "split"]) == {"test"}
    scale = MosScale.of_training(rows)
    assert (scale.minimum, scale.maximum) == (3.42, pytest.approx(92.4319526627219))
    test_scores = scale.normalise(rows.loc[rows["split"] == "test", "mos"].to_numpy())
    assert test_scores.mean() == pytest.approx(58.08, abs=0.01)
    assert test_scores.std() == pytest.approx(23.41, abs=0.01)


def test_livec_pixels_are_the_files(livec: ImageSet) -> None:
    root = Path(livec.spec.removeprefix("livec:"))
    for i in (0, 500, 1161):
        with Image.open(root / "Images" / livec.table["image"][i]) as image:
            assert np.array_equal(livec.store[i], np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("name", WRITERS)
def test_a_release_opens_and_splits(name: str, tmp_path: Path) -> None:
    images = open_dataset(f"{name}:{WRITERS[name](tmp_path / name)}", cache_dir=tmp_path / "cache")
    assert len(images.table) == len(images.store) > 0
    assert images.left_out == {}
    rows = split_table(images.table, seed=0)
    assert rows.groupby("content")["split"].nunique().max() == 1


def test_every_registered_name_is_tested() -> None:
    assert set(LABEL_READERS) == {*WRITERS, "livec", "csv"}


def open_one(name: str, folder: Path) -> ImageSet:
    return open_dataset(f"{name}:{WRITERS[name](folder / name)}", cache_dir=folder / "cache")


def test_koniq_reads_the_z_scores_and_the_official_sets(tmp_path: Path) -> None:
    images = open_one("koniq10k", tmp_path)
    assert images.table["mos"].tolist() == pytest.approx(np.linspace(12, 88, 10))
    assert split_table(images.table, seed=0)["split"].tolist() == ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    assert images.store[0].shape == (512, 384, 3)
    write_koniq10k(tmp_path / "bare", with_sets=False)
    bare = open_dataset(f"koniq10k:{tmp_path / 'bare'}", cache_dir=tmp_path / "cache")
    assert "split" not in bare.table


def test_biq_keeps_the_official_test_part_and_draws_a_validation_part(tmp_path: Path) -> None:
    images = open_one("biq2021", tmp_path)
    assert images.table["image"].iloc[1] == "ss02 (2).jpg"
    rows = split_table(images.table, seed=0)
    assert rows.loc[rows["split"] == "test", "image"].tolist() == ["ss01 (7).jpg", "ss02 (8).jpg"]
    assert set(rows["split"]) == {"train", "validation", "test"}
    (tmp_path / "biq2021" / "Test (Images and MOS).csv").unlink()
    with pytest.raises(ValueError, match=r"has no Test \(Images and MOS\)\.csv, which holds the test part"):
        open_dataset(f"biq2021:{tmp_path / 'biq2021'}", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("folder", [".", "AGIQA-3K"])
def test_agiqa_contents_are_prompts_wherever_the_images_lie(folder: str, tmp_path: Path) -> None:
    root = write_agiqa3k(tmp_path / "set", folder)
    (root / "._DALLE2_normal_000.jpg").write_bytes(b"an icon of macOS")
    images = open_dataset(f"agiqa3k:{root}", cache_dir=tmp_path / "cache")
    assert images.table["mos"].tolist()[:3] == [0, 0.2, 0.4]
    assert images.table["std"].unique() == [0.4]
    assert images.table["content"].nunique() == 4 and images.left_out == {}


def test_kadid_scores_are_not_turned_and_contents_are_references(tmp_path: Path) -> None:
    table = open_one("kadid10k", tmp_path).table.set_index("image")
    assert table.loc["I03_02_01.png", "mos"] == 4.22
    assert table.loc["I03_02_01.png", "content"] == "I03"
    assert table["std"].unique() == pytest.approx(0.8)
    assert table["content"].nunique() == 5


def test_tid_finds_files_whatever_their_case(tmp_path: Path) -> None:
    table = open_one("tid2013", tmp_path).table.set_index("image")
    assert table.loc["i01_01_2.bmp", "mos"] == 4.6
    assert table.loc["i01_01_2.bmp", "content"] == "I01"
    assert table.loc["I02_01_1.bmp", "content"] == "I02"


def test_csiq_scores_are_turned_round(tmp_path: Path) -> None:
    images = open_one("csiq", tmp_path)
    mos = images.table.set_index("image")["mos"]
    assert mos["boston.BLUR.3.png"] == pytest.approx(1 - 0.31)
    assert mos["1600.AWGN.1.png"] > mos["1600.AWGN.3.png"]
    assert set(images.table["content"]) == {"1600", "boston", "cactus", "child_swimming"}
    assert "turned round" in images.score_kind


def test_spaq_keeps_the_aspect_ratio(tmp_path: Path) -> None:
    images = open_one("spaq", tmp_path)
    assert images.table[["image", "mos"]].to_numpy()[2].tolist() == ["00003.jpg", 40.5]
    assert [images.store[i].shape for i in (0, 1)] == [(384, 576, 3), (480, 384, 3)]


def test_bid_names_come_from_numbers(tmp_path: Path) -> None:
    table = open_one("bid", tmp_path).table
    assert table["image"].tolist()[2:4] == ["DatabaseImage0005.JPG", "DatabaseImage0017.JPG"]
    assert table["mos"].tolist() == [0.5, 1.25, 2.0, 2.75, 3.5, 4.25]


def test_a_manifest_may_carry_deviation_content_and_split(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "image": [f"sub/{i}.png" for i in range(6)],
            "mos": [1.0, 2, 3, 4, 5, 6],
            "std": 0.5,
            "content": list("aabbcc"),
            "split": ["train", "train", "validation", "validation", "test", "test"],
        }
    )
    images = open_dataset(f"csv:{write_manifest(tmp_path, rows)}", cache_dir=tmp_path / "cache")
    pd.testing.assert_frame_equal(images.table[rows.columns], rows, check_dtype=False)
    assert split_table(images.table, seed=1)["split"].tolist() == rows["split"].tolist()


def test_an_unknown_set_is_told_its_nearest_name() -> None:
    with pytest.raises(ValueError, match="unknown data set 'koniq'; did you mean 'koniq10k'"):
        open_dataset("koniq:/data")
    with pytest.raises(ValueError, match="did you mean 'photos'"):
        open_dataset("photoz")
