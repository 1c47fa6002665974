"""AGIQA-3K: 2,982 images made by six text-to-image models (Li et al., IEEE TCSVT 2023)."""

from pathlib import Path, PurePosixPath

from trainables.data.labels import Labels, read_csv, release_root, require_columns, scores

LABELS = "data.csv"


def read_agiqa3k(place: Path) -> Labels:
    """Labels of a folder with `data.csv` and the images, beside it or in the one folder that has them.

    The score is `mos_quality`, 0..5; images made from one prompt are one content.
    """
    root = release_root(place, LABELS)
    source = root / LABELS
    table = read_csv(source, dtype={"name": str, "prompt": str})
    require_columns(table, ["name", "mos_quality", "prompt"], source)
    folder = _folder(root, str(table["name"].iloc[0])) if len(table) else "."
    labels = table[["name"]].rename(columns={"name": "image"})
    labels["path"] = [str(PurePosixPath(folder, name)) for name in labels["image"].astype(str)]
    labels["mos"] = scores(table["mos_quality"], source)
    if "std_quality" in table:
        labels["std"] = scores(table["std_quality"], source)
    labels["content"] = table["prompt"].fillna(table["name"])
    return Labels(
        name="agiqa3k",
        source=source,
        root=root,
        table=labels,
        score_kind="mean opinion of the quality, 0..5",
        image_folder=folder,
    )


def _folder(root: Path, image: str) -> str:
    """Where the images lie: the archive of the images unpacks beside `data.csv` or into a folder of its own."""
    try:
        return release_root(root, image).relative_to(root).as_posix()
    except ValueError:
        raise ValueError(f"{root} has no {image}, which {LABELS} names; unpack the images beside that file") from None
