"""BID: 586 photographs with realistic blur (Ciancio et al., IEEE TIP 2011)."""

from pathlib import Path

import pandas as pd

from trainables.data.labels import Labels, release_root, scores
from trainables.data.workbook import read_workbook

SIZE = (512, 512)
"""Height, width: what HyperIQA's loader resizes to."""


def read_bid(place: Path) -> Labels:
    """Labels of a folder with `DatabaseGrades.xlsx` (image number, MOS) and `DatabaseImage0001.JPG` … beside it."""
    root = release_root(place, "DatabaseGrades.xlsx")
    source = root / "DatabaseGrades.xlsx"
    rows = read_workbook(source)
    images = pd.Series([f"DatabaseImage{int(number):04d}.JPG" for number in scores(rows[0], source)])
    table = pd.DataFrame({"image": images, "path": images, "mos": scores(rows[1], source), "content": images})
    return Labels(
        name="bid",
        source=source,
        root=root,
        table=table,
        score_kind="MOS, 0..5",
        image_folder=".",
        resize=SIZE,
    )
