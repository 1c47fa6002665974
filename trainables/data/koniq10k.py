"""KonIQ-10k: 10,073 authentically distorted photographs (Hosu et al., IEEE TIP 2020)."""

from pathlib import Path

import pandas as pd

from trainables.data.labels import Labels, image_folder, read_csv, release_root, require_columns, scores

SCORES = "koniq10k_scores_and_distributions.csv"
SETS = "koniq10k_distributions_sets.csv"
SIZE = (512, 384)
"""Height, width: what HyperIQA's loader resizes to, the aspect ratio changed with it."""


def read_koniq10k(place: Path) -> Labels:
    """Labels of a folder with the images in `1024x768/` or `512x384/`, and one of its two label files, or both.

    The scores are those of `SCORES`, else the mean opinions of `SETS`; where `SETS` is there, the official split too.
    """
    root = _root(place)
    has_scores = (root / SCORES).exists()
    source, column = (root / SCORES, "MOS_zscore") if has_scores else (root / SETS, "MOS")
    table = read_csv(source, dtype={"image_name": str})
    require_columns(table, ["image_name", column], source)
    folder = image_folder(root, "1024x768", "512x384")
    labels = table[["image_name"]].rename(columns={"image_name": "image"})
    labels["path"] = f"{folder}/" + labels["image"]
    labels["mos"] = scores(table[column], source)
    labels["content"] = labels["image"]
    if (root / SETS).exists():
        labels["split"] = _official_split(labels["image"], root / SETS)
    return Labels(
        name="koniq10k",
        source=source,
        root=root,
        table=labels,
        score_kind="MOS_zscore, about 0..100" if has_scores else f"MOS as {SETS} has it, higher is better",
        image_folder=folder,
        resize=SIZE,
    )


def _root(place: Path) -> Path:
    for labels in (SCORES, SETS):
        try:
            return release_root(place, labels)
        except ValueError:
            if not place.is_dir():
                raise
    raise ValueError(
        f"{place} has neither {SCORES} (the scores) nor {SETS} (the official split, with mean opinions); one of them "
        "has to lie beside the folder 1024x768 or 512x384"
    )


def _official_split(images: pd.Series, source: Path) -> pd.Series:
    sets = read_csv(source, dtype={"image_name": str})
    require_columns(sets, ["image_name", "set"], source)
    split_of = sets.drop_duplicates("image_name").set_index("image_name")["set"].replace("training", "train")
    split = images.map(split_of)
    if split.isna().any():
        missing = images[split.isna()].iloc[0]
        raise ValueError(f"{source} does not say which set {missing} is in; complete or remove that file")
    return split
