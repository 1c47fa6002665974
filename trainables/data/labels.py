"""What a release's label files say, checked before any image is opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from trainables.data.decode import Resize

IMAGE_SUFFIXES = {".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}


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
        return sorted(
            file.name
            for file in folder.iterdir()
            if file.suffix.lower() in IMAGE_SUFFIXES and file.name not in labelled
        )


def scores(values: pd.Series, source: Path) -> pd.Series:
    """`values` as float64; ValueError naming the first that is no number."""
    numbers = pd.to_numeric(values, errors="coerce").astype(np.float64)
    is_text = numbers.isna() & values.notna() & (values.astype(str).str.lower() != "nan")
    if is_text.any():
        raise ValueError(f"{source}: {values[is_text].iloc[0]!r} is not a score")
    return numbers


def release_file(root: Path, *parts: str) -> Path:
    """The path of a release's file or folder; ValueError naming it where it is missing."""
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}; give the folder that the release was unpacked to")
    path = root.joinpath(*parts)
    if not path.exists():
        raise ValueError(f"{root} has no {'/'.join(parts)}; give the folder that the release was unpacked to")
    return path


def read_csv(path: Path, **options: object) -> pd.DataFrame:
    """A UTF-8 text table; ValueError naming the file where it is not one."""
    try:
        table: pd.DataFrame = pd.read_csv(path, encoding="utf-8", **options)  # type: ignore[call-overload]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error.reason}); save it as UTF-8") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from error
    return table


def require_columns(table: pd.DataFrame, columns: Sequence[str], source: Path) -> None:
    """ValueError naming the columns that `table` lacks."""
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{source} has no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
