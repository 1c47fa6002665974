"""SPAQ: 11,125 smartphone photographs (Fang et al., CVPR 2020)."""

from pathlib import Path

import pandas as pd

from trainables.data.labels import Labels, image_folder, release_root, scores
from trainables.data.workbook import read_workbook

SHORTER_SIDE = 384
"""Pixels. The photographs have up to 20 million pixels, three hundred thousand of which any model sees."""


def read_spaq(place: Path) -> Labels:
    """Labels of a folder with `Annotations/MOS and Image attribute scores.xlsx` and `TestImage/`."""
    parts = ("Annotations", "MOS and Image attribute scores.xlsx")
    root = release_root(place, *parts)
    source = root.joinpath(*parts)
    rows = read_workbook(source)
    folder = image_folder(root, "TestImage")
    images = rows[0].astype(str)
    table = pd.DataFrame(
        {"image": images, "path": f"{folder}/" + images, "mos": scores(rows[1], source), "content": images}
    )
    return Labels(
        name="spaq",
        source=source,
        root=root,
        table=table,
        score_kind="MOS, 0..100",
        image_folder=folder,
        resize=SHORTER_SIDE,
    )
