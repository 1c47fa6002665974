"""Tables that are kept as .xlsx."""

import io
from pathlib import Path
from typing import Any

import pandas as pd

from trainables.trust import read_regular


def read_workbook(path: Path) -> pd.DataFrame:
    """The first two columns of the first sheet, named 0 and 1, without the header row and empty rows."""
    rows = read_sheet(path, header=None, skiprows=1)
    if rows.shape[1] < 2:
        raise ValueError(f"{path} needs an image and a score column; its first sheet has {rows.shape[1]} column(s)")
    return rows[[0, 1]].dropna(how="all").reset_index(drop=True)


def read_sheet(path: Path, **options: Any) -> pd.DataFrame:
    """The first sheet; ValueError naming the file where it is no workbook."""
    try:
        sheet: pd.DataFrame = pd.read_excel(io.BytesIO(read_regular(path)), engine="openpyxl", **options)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # openpyxl and zipfile raise many types over damaged workbooks
        raise ValueError(f"{path} cannot be read as a workbook: {error}; save it again as .xlsx or CSV") from error
    return sheet
