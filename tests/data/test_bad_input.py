"""Whatever is wrong with a data set is said in one sentence that names the file, and nothing half-written is left."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from PIL import Image
from release_fixtures import livec_labels, write_image, write_kadid10k, write_livec, write_manifest

from trainables.data import open_dataset
from trainables.data.image_set import ImageSet
from trainables.data.split import split_table


def small_set(folder: Path, suffix: str = "png") -> Path:
    """A manifest of six good images."""
    names = [f"{i}.{suffix}" for i in range(6)]
    return write_manifest(folder, pd.DataFrame({"image": names, "mos": np.arange(6.0)}))


def open_small(folder: Path, *, skip_unreadable: bool = False) -> ImageSet:
    return open_dataset(f"csv:{folder / 'manifest.csv'}", cache_dir=folder / "cache", skip_unreadable=skip_unreadable)


def nothing_kept(folder: Path) -> bool:
    """Whether the cache holds no folder, whole or half-made."""
    return not (folder / "cache").exists() or not [path for path in (folder / "cache").iterdir() if path.is_dir()]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def png_header_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and carries no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncate, r"3\.jpg cannot be decoded: .*[Tt]runcated"),
    "empty": (lambda path: path.write_bytes(b""), r"3\.jpg is empty \(0 bytes\)"),
    "no image": (lambda path: path.write_text("<html>"), r"3\.jpg cannot be decoded"),
    "bomb": (lambda path: path.write_bytes(png_header_of(30_000, 30_000)), r"3\.jpg (is too large|claims 30000x30000)"),
    "large": (lambda path: path.write_bytes(png_header_of(10_000, 8_500)), r"3\.jpg claims 10000x8500 pixels"),
    "missing": (lambda path: path.unlink(), r"3\.jpg: it has a score and no file 3\.jpg"),
    "folder": (make_folder, r"3\.jpg cannot be read: .*directory"),
    "float": (
        lambda path: Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(path, format="TIFF"),
        r"3\.jpg has floating-point pixels",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_unreadable_image_is_named_and_may_be_left_out(damage: str, tmp_path: Path) -> None:
    small_set(tmp_path, suffix="jpg")
    break_file, message = DAMAGES[damage]
    break_file(tmp_path / "3.jpg")
    with pytest.raises(ValueError, match=message):
        open_small(tmp_path)
    assert nothing_kept(tmp_path)
    images = open_small(tmp_path, skip_unreadable=True)
    assert list(images.left_out) == ["3.jpg"]
    assert images.table["image"].tolist() == ["0.jpg", "1.jpg", "2.jpg", "4.jpg", "5.jpg"]
    with Image.open(tmp_path / "4.jpg") as image:
        assert np.array_equal(images.store[3], np.asarray(image))


def test_leaving_everything_out_is_an_error(tmp_path: Path) -> None:
    small_set(tmp_path)
    for i in range(6):
        truncate(tmp_path / f"{i}.png")
    with pytest.raises(ValueError, match="has no readable image"):
        open_small(tmp_path, skip_unreadable=True)
    assert nothing_kept(tmp_path)


def test_other_pixel_formats_are_converted_and_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (5, 7), dtype=np.uint8)
    deep = grey.astype(np.uint16) * 257
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(deep).save(tmp_path / "deep.tif")
    write_image(tmp_path / "alpha.png", mode="RGBA")
    write_image(tmp_path / "palette.png", mode="P")
    write_image(tmp_path / "cmyk.jpg", mode="CMYK")
    write_image(tmp_path / "plain.png")
    names = ["grey.png", "deep.png", "deep.tif", "alpha.png", "palette.png", "cmyk.jpg", "plain.png"]
    write_manifest(tmp_path, pd.DataFrame({"image": names, "mos": range(7)}))
    images = open_small(tmp_path)
    assert images.conversions == {"grey": 1, "16-bit": 2, "alpha": 1, "palette": 1, "CMYK": 1}
    for i in range(3):
        assert np.array_equal(images.store[i], np.repeat(grey[..., None], 3, axis=2))
    with Image.open(tmp_path / "alpha.png") as image:
        assert np.array_equal(images.store[3], np.asarray(image.convert("RGB")))


BAD_MANIFESTS = {
    "nan": ("image,mos\n0.png,1\n1.png,\n", r"the score of 1\.png is nan, not a finite number"),
    "inf": ("image,mos\n0.png,inf\n1.png,2\n", r"the score of 0\.png is inf, not a finite number"),
    "text": ("image,mos\n0.png,good\n1.png,2\n", r"'good' is not a score"),
    "twice": ("image,mos\n0.png,1\n0.png,2\n", r"names 0\.png more than once"),
    "escape": ("image,mos\n../secret.png,1\n1.png,2\n", r"names \.\./secret\.png, which lies outside"),
    "inner escape": ("image,mos\nsub/../../x.png,1\n1.png,2\n", r"names sub/\.\./\.\./x\.png, which lies outside"),
    "absolute": ("image,mos\n/etc/passwd,1\n1.png,2\n", r"names /etc/passwd, which lies outside"),
    "no column": ("image,score\n0.png,1\n", r"has no column mos; it has image, score"),
    "no rows": ("image,mos\n", r"manifest\.csv has no labels"),
    "no bytes": ("", r"manifest\.csv cannot be read as a table"),
    "no name": ("image,mos\n0.png,1\n,2\n", r"row 3 has no image"),
    "ragged": ("image,mos\n0.png,1\n1.png,2,3,4\n", r"manifest\.csv cannot be read as a table"),
}


@pytest.mark.parametrize("case", BAD_MANIFESTS)
def test_a_bad_manifest_is_explained(case: str, tmp_path: Path) -> None:
    small_set(tmp_path)
    text, message = BAD_MANIFESTS[case]
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        open_small(tmp_path)
    assert nothing_kept(tmp_path)


def test_a_manifest_in_another_encoding_is_explained(tmp_path: Path) -> None:
    small_set(tmp_path)
    (tmp_path / "manifest.csv").write_bytes("image,mos\nfjäll.png,1\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"manifest\.csv is not UTF-8 .*\); save it as UTF-8"):
        open_small(tmp_path)


def test_a_missing_place_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a place: write livec:/path"):
        open_dataset("livec")
    with pytest.raises(ValueError, match=f"there is no folder {tmp_path}/nowhere"):
        open_dataset(f"livec:{tmp_path}/nowhere")
    with pytest.raises(ValueError, match=r"there is no file .*none\.csv"):
        open_dataset(f"csv:{tmp_path}/none.csv")
    with pytest.raises(ValueError, match=r"has no dmos\.csv; give the folder that the release was unpacked to"):
        open_dataset(f"kadid10k:{tmp_path}")


@pytest.fixture
def tiny_livec(tmp_path: Path) -> Path:
    return write_livec(tmp_path / "release", livec_labels().head(5))


def open_livec(root: Path, *, skip_unreadable: bool = False) -> ImageSet:
    return open_dataset(f"livec:{root}", cache_dir=root.parent / "cache", skip_unreadable=skip_unreadable)


def test_livec_without_a_mat_file_or_key_is_explained(tiny_livec: Path) -> None:
    scipy.io.savemat(tiny_livec / "Data" / "AllMOS_release.mat", {"mos": np.zeros((1, 12))})
    with pytest.raises(ValueError, match=r"AllMOS_release\.mat has no variable AllMOS_release; it has mos"):
        open_livec(tiny_livec)
    (tiny_livec / "Data" / "AllMOS_release.mat").write_bytes(b"not a MATLAB file")
    with pytest.raises(ValueError, match=r"AllMOS_release\.mat cannot be read as a MATLAB file"):
        open_livec(tiny_livec)
    (tiny_livec / "Data" / "AllMOS_release.mat").unlink()
    with pytest.raises(ValueError, match=r"has no Data/AllMOS_release\.mat"):
        open_livec(tiny_livec)


def test_livec_lists_of_different_length_are_explained(tiny_livec: Path) -> None:
    scipy.io.savemat(tiny_livec / "Data" / "AllMOS_release.mat", {"AllMOS_release": np.zeros((1, 11))})
    with pytest.raises(ValueError, match="lists 12 images, 11 scores and 12 deviations"):
        open_livec(tiny_livec)


def test_images_without_score_and_scores_without_image_are_named(tiny_livec: Path) -> None:
    write_image(tiny_livec / "Images" / "stray.bmp")
    with pytest.raises(ValueError, match=r"stray\.bmp: it has no score in the label file"):
        open_livec(tiny_livec)
    (tiny_livec / "Images" / "100.bmp").unlink()
    with pytest.raises(ValueError, match=r"100\.bmp and 1 more: it has a score and no file Images/100\.bmp"):
        open_livec(tiny_livec)
    images = open_livec(tiny_livec, skip_unreadable=True)
    assert set(images.left_out) == {"stray.bmp", "100.bmp"}
    assert len(images.table) == 4


def test_a_damaged_workbook_is_explained(tmp_path: Path) -> None:
    (tmp_path / "DatabaseGrades.xlsx").write_bytes(b"PK not really")
    with pytest.raises(ValueError, match=r"DatabaseGrades\.xlsx cannot be read as a workbook"):
        open_dataset(f"bid:{tmp_path}", cache_dir=tmp_path / "cache")


def test_a_split_that_would_be_empty_is_explained(tmp_path: Path) -> None:
    table = open_small_table(tmp_path)
    with pytest.raises(ValueError, match="2 different contents cannot be split into train, validation, test"):
        split_table(table.assign(content=list("aaabbb")), seed=0)
    with pytest.raises(ValueError, match="the test part of the split is empty"):
        split_table(table.assign(split=["train", "validation"] * 3), seed=0)
    with pytest.raises(ValueError, match="train, validation or test, not 'dev'"):
        split_table(table.assign(split=["train", "dev", "test"] * 2), seed=0)
    with pytest.raises(ValueError, match="'random' would put one photograph on two sides"):
        split_table(table.assign(content=list("aabbcc")), seed=0, mode="random")
    with pytest.raises(ValueError, match="has no authors' split"):
        split_table(table, seed=0, mode="authors")
    with pytest.raises(ValueError, match="three positive numbers that add up to 1"):
        split_table(table, seed=0, fractions=(0.5, 0.5, 0.5))


def open_small_table(folder: Path) -> pd.DataFrame:
    small_set(folder)
    return open_small(folder).table


def test_an_unwritable_cache_is_explained(tmp_path: Path) -> None:
    small_set(tmp_path)
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(ValueError, match=r"cannot write the data cache .* set XDG_CACHE_HOME"):
        open_small(tmp_path)


def test_reference_images_are_no_images_without_score(tmp_path: Path) -> None:
    root = write_kadid10k(tmp_path / "kadid")
    (root / "images" / "readme.txt").write_text("no image")
    assert open_dataset(f"kadid10k:{root}", cache_dir=tmp_path / "cache").left_out == {}
