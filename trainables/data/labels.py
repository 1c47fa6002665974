"""What a release's label files say, checked before any image is opened."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from trainables.data.decode import Resize
from trainables.trust import read_regular

IMAGE_SUFFIXES = frozenset({".bmp", ".jpg", ".jpeg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
NOT_RELEASED = "__MACOSX"
"""A folder that macOS adds to archives; it holds no images, though the names say so."""


def is_image_name(name: str) -> bool:
    """Whether a file's name is an image's. `._photo.jpg`, where macOS keeps a file's icon, is none, nor is any hidden
    file."""
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Labels:
    """A release's images and scores, in the order of its label file.

    Raises ValueError for no rows, a name twice, a path that leaves the root, a score that is no finite number.
    """

    name: str
    """The registry's name of the set."""
    source: Path
    """The label file, for messages."""
    root: Path
    """What `path` is relative to."""
    table: pd.DataFrame
    """`image` (unique name), `path` (below root, with /), `mos` (higher is better), `content`; also `std`, `split`,
    `split_authors` where the release has them."""
    score_kind: str
    image_folder: str | None = None
    """Folder below root that holds labelled images and nothing else but `unlabelled`; None: not looked at."""
    unlabelled: frozenset[str] = frozenset()
    """File names in that folder that carry no score by design, such as reference images."""
    resize: Resize = None
    """What every image is brought to, as in the published loaders."""

    def __post_init__(self) -> None:
        table, source = self.table, self.source
        if table.empty:
            raise ValueError(f"{source} has no labels")
        repeated = table.loc[table["image"].duplicated(), "image"]
        if len(repeated):
            raise ValueError(f"{source} names {repeated.iloc[0]} more than once")
        escaping = [path for path in table["path"] if PurePosixPath(path).is_absolute() or ".." in Path(path).parts]
        if escaping:
            raise ValueError(f"{source} names {escaping[0]}, which lies outside {self.root}; use paths below it")
        is_bad = ~np.isfinite(table["mos"].to_numpy(np.float64))
        if is_bad.any():
            bad = table[is_bad].iloc[0]
            raise ValueError(f"{source}: the score of {bad['image']} is {bad['mos']}, not a finite number")

    def without_score(self) -> list[str]:
        """Names of images in the image folder that the labels do not mention, sorted."""
        if self.image_folder is None:
            return []
        folder = self.root / self.image_folder
        labelled = {PurePosixPath(path).name for path in self.table["path"]} | self.unlabelled
        return sorted(file.name for file in folder.iterdir() if is_image_name(file.name) and file.name not in labelled)


def scores(values: pd.Series, source: Path) -> pd.Series:
    """`values` as float64; ValueError naming the first that is no number."""
    numbers = pd.to_numeric(values, errors="coerce").astype(np.float64)
    is_text = numbers.isna() & values.notna() & (values.astype(str).str.lower() != "nan")
    if is_text.any():
        raise ValueError(f"{source}: {values[is_text].iloc[0]!r} is not a score")
    return numbers


def release_root(place: Path, *parts: str) -> Path:
    """The folder below which a release's file or folder is: `place`, or the one folder in it that has it.

    Archives differ in whether they unpack into a folder of their own. Raises ValueError naming what is missing.
    """
    if place.is_file():
        raise ValueError(f"{place} is a file; unpack the release if it is an archive, and give the folder")
    if not place.is_dir():
        raise ValueError(f"there is no folder {place}; give the folder that the release was unpacked to")
    if place.joinpath(*parts).exists():
        return place
    inner = [folder for folder in _folders(place) if folder.joinpath(*parts).exists()]
    if len(inner) > 1:
        raise ValueError(f"{place} holds several releases, {' and '.join(each.name for each in inner)}; give one")
    if not inner:
        raise ValueError(f"{place} has no {'/'.join(parts)}; give the folder that the release was unpacked to")
    return inner[0]


def release_file(root: Path, *parts: str, holds: str) -> Path:
    """The path of a release's file below its root; ValueError naming it, and what it `holds`, where it is missing."""
    path = root.joinpath(*parts)
    if not path.exists():
        raise ValueError(f"{root} has no {'/'.join(parts)}, which holds {holds}; unpack the whole release there")
    return path


def image_folder(root: Path, *names: str) -> str:
    """The folder of a release's images: the first of `names`, in whatever case. ValueError where there is none."""
    there = {folder.name.lower(): folder.name for folder in _folders(root)}
    for name in names:
        if name.lower() in there:
            return there[name.lower()]
    raise ValueError(f"{root} has no folder {' or '.join(names)} with the images; unpack them into it")


def _folders(place: Path) -> list[Path]:
    return sorted(
        Path(found.path)
        for found in os.scandir(place)
        if found.is_dir() and not found.name.startswith(".") and found.name != NOT_RELEASED
    )


def read_csv(path: Path, **options: object) -> pd.DataFrame:
    """A UTF-8 text table, with a byte order mark or without; ValueError naming the file where it is not one."""
    try:
        table: pd.DataFrame = pd.read_csv(io.BytesIO(read_regular(path)), encoding="utf-8-sig", **options)  # type: ignore[call-overload]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error.reason}); save it as UTF-8 (Excel: CSV UTF-8)") from error
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} cannot be read as a table: it is empty") from None
    except pd.errors.ParserError as error:
        reason = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise ValueError(
            f"{path} cannot be read as a table: {reason}; put values that hold a separator in quotation marks"
        ) from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    return table


def require_columns(table: pd.DataFrame, columns: Sequence[str], source: Path) -> None:
    """ValueError naming the columns that `table` lacks."""
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{source} has no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
