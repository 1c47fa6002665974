"""KonIQ-10k: 10,073 authentically distorted photographs (Hosu et al., IEEE TIP 2020)."""

from pathlib import Path

from trainables.data.labels import Labels, read_csv, release_file, require_columns, scores

SCORES = "koniq10k_scores_and_distributions.csv"
SETS = "koniq10k_distributions_sets.csv"
SIZE = (512, 384)
"""Height, width: what HyperIQA's loader resizes to, the aspect ratio changed with it."""


def read_koniq10k(root: Path) -> Labels:
    """Labels of a folder with `1024x768/` and `SCORES`; where `SETS` lies beside it, the official split too."""
    source = release_file(root, SCORES)
    table = read_csv(source, dtype={"image_name": str})
    require_columns(table, ["image_name", "MOS_zscore"], source)
    release_file(root, "1024x768")
    labels = table[["image_name"]].rename(columns={"image_name": "image"})
    labels["path"] = "1024x768/" + labels["image"]
    labels["mos"] = scores(table["MOS_zscore"], source)
    labels["content"] = labels["image"]
    if (root / SETS).exists():
        sets = read_csv(root / SETS, dtype={"image_name": str})
        require_columns(sets, ["image_name", "set"], root / SETS)
        split_of = sets.drop_duplicates("image_name").set_index("image_name")["set"].replace("training", "train")
        labels["split"] = labels["image"].map(split_of)
        if labels["split"].isna().any():
            missing = labels.loc[labels["split"].isna(), "image"].iloc[0]
            raise ValueError(f"{root / SETS} does not say which set {missing} is in; complete or remove that file")
    return Labels(
        name="koniq10k",
        source=source,
        root=root,
        table=labels,
        score_kind="MOS_zscore, about 0..100",
        image_folder="1024x768",
        resize=SIZE,
    )
