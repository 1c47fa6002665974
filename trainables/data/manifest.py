"""Any images, by a table of one's own, as a spreadsheet program writes it."""

import re
import unicodedata
from collections import Counter
from pathlib import Path, PurePosixPath

import pandas as pd

from trainables.data.labels import Labels, is_image_name, read_csv, require_columns, scores
from trainables.data.workbook import read_sheet
from trainables.trust import from_cell

WORKBOOKS = (".xlsx", ".xlsm")
TABLES = (*WORKBOOKS, ".csv", ".tsv", ".txt")
DECIMAL_COMMA = re.compile(r"^([+-]?\d*),(\d+)$")
COLUMNS = ("image", "mos", "std", "content", "split")
"""Of a table, those that are read."""
SEPARATORS = (";", "\t", ",")
"""Of a text table's columns: the first of them that its header has."""


def read_manifest(path: Path) -> Labels:
    """Labels of a table with the columns `image,mos[,std,content,split]`: UTF-8 text, or the first sheet of an .xlsx.

    Text may be separated by commas, semicolons or tabs, and numbers may have a decimal comma. `image` is a path below
    the file's folder, in whatever case, with or without its suffix; `mos` is higher for better, rows that share a
    `content` (a photograph's versions) stay on one side of a split, and `split` says train, validation or test.
    """
    table = _read_table(path)
    require_columns(table, ["image", "mos"], path)
    table = table.dropna(how="all", subset=["image", "mos"])
    if table["image"].isna().any():
        raise ValueError(f"{path}: row {int(table.index[table['image'].isna()][0]) + 2} has no image")
    if (damaged := table["image"].str.contains("\0", regex=False)).any():
        raise ValueError(
            f"{path}: row {int(table.index[damaged][0]) + 2} has a NUL byte in its image's name; remove it"
        )
    image = table["image"].str.strip().map(from_cell).str.replace("\\", "/", regex=False)
    labels = pd.DataFrame(
        {"image": image, "path": _found_paths(path.parent, image), "mos": _numbers(table, "mos", path)}
    )
    if "std" in table:
        labels["std"] = _numbers(table, "std", path)
    labels["content"] = table["content"].fillna(image) if "content" in table else image
    if "split" in table:
        labels["split"] = table["split"]
    return Labels(
        name="csv",
        source=path,
        root=path.parent,
        table=labels.reset_index(drop=True),
        score_kind="as in the manifest, higher is better",
    )


def _read_table(path: Path) -> pd.DataFrame:
    """The table with every value as text, and its columns' names in lower case."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the table of ratings{_tables_in(path)}")
    if not path.is_file():
        raise ValueError(f"there is no file {path}; give a CSV or XLSX file with the columns image and mos")
    suffix = path.suffix.lower()
    if suffix in (".xls", ".ods", ".numbers"):
        raise ValueError(f"{path} is a spreadsheet of a kind that is not read here; save it as .xlsx or CSV")
    if suffix in WORKBOOKS:
        table = read_sheet(path, dtype=str)
    else:
        separator = _separator(path)
        table = read_csv(path, sep=separator, dtype=str, skipinitialspace=True)
        if not isinstance(table.index, pd.RangeIndex):  # pandas takes surplus values for the rows' names
            raise ValueError(
                f"{path}: its rows have more values than its header, as {separator!r} separates them; where that is "
                "also the decimal comma, separate by semicolons or put the numbers in quotation marks"
            )
    table = table.rename(columns=lambda name: str(name).strip().lower())
    twice = [*table.columns[table.columns.duplicated()], *(name for name in COLUMNS if f"{name}.1" in table)]
    if twice:  # pandas calls the second of two equal names "mos.1"
        raise ValueError(f"{path} has two columns {twice[0]!r}; keep one of them")
    return table


def _tables_in(folder: Path) -> str:
    tables = sorted(file for file in folder.iterdir() if file.suffix.lower() in TABLES and file.name[0] not in ".~")
    return f", as in csv:{tables[0]}" if tables else " in it, a CSV or XLSX file with the columns image and mos"


def _separator(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    return next((separator for separator in SEPARATORS if separator in header), ",")


def _numbers(table: pd.DataFrame, column: str, source: Path) -> pd.Series:
    return scores(table[column].map(_with_point), source)


def _with_point(number: object) -> object:
    return DECIMAL_COMMA.sub(r"\1.\2", number.strip()) if isinstance(number, str) else number


def _found_paths(root: Path, images: pd.Series) -> list[str]:
    """The path below `root` of each image: as it is written, else of the one file that differs from it in case, in how
    its accents are coded (as between macOS and the rest), or by a suffix that was left out."""
    known: dict[PurePosixPath, dict[str, str]] = {}
    paths = []
    for written in map(PurePosixPath, images):
        folder = written.parent
        if not _leaves(written) and folder not in known:
            known[folder] = _by_name(root / folder)
        paths.append(str(folder / known.get(folder, {}).get(_folded(written.name), written.name)))
    return paths


def _leaves(path: PurePosixPath) -> bool:
    return path.is_absolute() or ".." in path.parts


def _by_name(folder: Path) -> dict[str, str]:
    """What may stand for a file -> its name, for those of a folder's files that nothing else could be meant by."""
    names = [file.name for file in folder.iterdir() if is_image_name(file.name)] if folder.is_dir() else []
    keys = [(key, name) for name in names for key in {_folded(name), _folded(Path(name).stem)}]
    times = Counter(key for key, _ in keys)
    return {key: name for key, name in keys if times[key] == 1}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
