"""BIQ2021: 12,000 photographs rated in a laboratory (Ahmed and Asif, Journal of Electronic Imaging 31(5), 2022)."""

from pathlib import Path

import pandas as pd

from trainables.data.labels import Labels, image_folder, read_csv, release_file, release_root, require_columns, scores

LABELS = {"train": "Train (Images and MOS).csv", "test": "Test (Images and MOS).csv"}
"""Part of the official split -> its label file. There is no validation part."""


def read_biq2021(place: Path) -> Labels:
    """Labels of a folder with `Images/` and the two files of `LABELS`, whose scores are 0..1."""
    root = release_root(place, LABELS["train"])
    folder = image_folder(root, "Images")
    parts = []
    for split, file in LABELS.items():
        source = release_file(root, file, holds=f"the {split} part")
        table = read_csv(source, dtype={"Image Name": str})
        require_columns(table, ["Image Name", "MOS"], source)
        parts.append(pd.DataFrame({"image": table["Image Name"], "mos": scores(table["MOS"], source), "split": split}))
    labels = pd.concat(parts, ignore_index=True)
    return Labels(
        name="biq2021",
        source=root / LABELS["train"],
        root=root,
        table=labels.assign(path=f"{folder}/" + labels["image"], content=labels["image"]),
        score_kind="MOS, 0..1",
        image_folder=folder,
    )
