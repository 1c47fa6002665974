"""Label files that are published as .xlsx."""

from pathlib import Path

import pandas as pd


def read_workbook(path: Path) -> pd.DataFrame:
    """The first two columns of the first sheet, named 0 and 1, without the header row and empty rows."""
    try:
        rows = pd.read_excel(path, header=None, skiprows=1, engine="openpyxl")
    except Exception as error:  # openpyxl and zipfile raise many types over damaged workbooks
        raise ValueError(f"{path} cannot be read as a workbook: {error}") from error
    if rows.shape[1] < 2:
        raise ValueError(f"{path} needs an image and a score column; its first sheet has {rows.shape[1]} column(s)")
    return rows[[0, 1]].dropna(how="all").reset_index(drop=True)
