"""The ratings of one's own photographs come as a spreadsheet program wrote them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from release_fixtures import write_images, write_workbook

from trainables.data import open_dataset
from trainables.data.image_set import ImageSet

NAMES = ["photo (1).JPG", "Größe 2.jpg", "IMG_3.png"]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "meine Fotos [2026]"
    write_images(folder, [NAMES[0], unicodedata.normalize("NFD", NAMES[1]), NAMES[2]])
    return folder


def opened(table: Path) -> ImageSet:
    return open_dataset(f"csv:{table}", cache_dir=table.parent.parent / "cache")


def ratings(images: ImageSet) -> dict[str, float]:
    return dict(zip(images.table["image"], images.table["mos"], strict=True))


TEXTS = {
    "semicolons and decimal commas": "image;mos\n{0};3,5\n{1};4\n{2};-1,25\n;\n",
    "tabs, and columns in another case": " Image\tMOS \n{0}\t3,5\n{1}\t4\n{2}\t-1,25\n",
    "commas and quotation marks": 'image,mos\n"{0}","3,5"\n"{1}",4.0\n"{2}",-1.25\n',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text(text: str, photographs: Path) -> None:
    (photographs / "ratings.csv").write_text(text.format(*NAMES), encoding="utf-8-sig")
    assert ratings(opened(photographs / "ratings.csv")) == dict(zip(NAMES, [3.5, 4, -1.25], strict=True))


def test_a_workbook(photographs: Path) -> None:
    rows = [["Image", "MOS", "who"], ["PHOTO (1).jpg", 3.5, "A"], [NAMES[1], "4,25", "B"], ["IMG_3", 5, None], [None]]
    write_workbook(photographs / "ratings.xlsx", rows)
    assert list(ratings(opened(photographs / "ratings.xlsx")).values()) == [3.5, 4.25, 5]


def test_the_folder_instead_of_the_table(photographs: Path) -> None:
    with pytest.raises(ValueError, match=r"is a folder; give the table of ratings in it, a CSV or XLSX file"):
        opened(photographs)
    write_workbook(photographs / "ratings.xlsx", [["image", "mos"]])
    with pytest.raises(ValueError, match=r"give the table of ratings, as in csv:.*/ratings\.xlsx"):
        opened(photographs)


def test_no_name_of_a_set(photographs: Path) -> None:
    write_workbook(photographs / "ratings.xlsx", [["image", "mos"]])
    with pytest.raises(ValueError, match=r"write csv:.*/ratings\.xlsx for a table of images and ratings"):
        open_dataset(str(photographs / "ratings.xlsx"))
    with pytest.raises(ValueError, match=r"write NAME:.*, with one of photos, livec, "):
        open_dataset(str(photographs))


REFUSED = {
    "decimal commas among commas": (
        "image,mos\n{0},3,5\n{1},4,0\n",
        "separate by semicolons or put the numbers in quot",
    ),
    "a separator more in each row": ("image;mos\n{0};3;\n{1};4;\n", "more values than its header"),
    "two columns of one name": ("image,mos,mos\n{0},3,4\n{1},4,5\n", "has two columns 'mos'; keep one of them"),
    "a NUL in a name": ("image,mos\n{0}\0,3\n{1},4\n", "row 2 has a NUL byte in its image's name"),
    "nothing but a header": ("image;mos\n", "has no labels"),
    "no header": ("{0},3\n{1},4\n", "has no column image, mos"),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_tables_that_cannot_be_understood(text: str, said: str, photographs: Path) -> None:
    (photographs / "ratings.csv").write_text(text.format(*NAMES), encoding="utf-8")
    with pytest.raises(ValueError, match=said) as refused:
        opened(photographs / "ratings.csv")
    assert "ratings.csv" in str(refused.value)


def test_the_address_that_a_file_manager_copies(photographs: Path) -> None:
    (photographs / "ratings.csv").write_text(
        TEXTS["tabs, and columns in another case"].format(*NAMES), encoding="utf-8"
    )
    address = (photographs / "ratings.csv").as_uri()
    assert "%20" in address
    for spec in (f"csv:{address}", f"CSV: {photographs}/ratings.csv"):
        images = open_dataset(spec, cache_dir=photographs.parent / "cache")
        assert images.spec == f"csv:{photographs}/ratings.csv" and len(images.table) == 3
