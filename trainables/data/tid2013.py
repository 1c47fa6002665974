"""TID2013: 25 references, each with 24 distortions in 5 levels (Ponomarenko et al., 2015)."""

from pathlib import Path

from trainables.data.labels import Labels, image_folder, read_csv, release_root, scores


def read_tid2013(place: Path) -> Labels:
    """Labels of a folder with `mos_with_names.txt` ("MOS name" per line) and `distorted_images/`."""
    root = release_root(place, "mos_with_names.txt")
    source = root / "mos_with_names.txt"
    table = read_csv(source, sep=r"\s+", header=None, names=["mos", "image"], dtype=str)
    folder = image_folder(root, "distorted_images")
    # The label file and the folder spell names in different cases.
    found = {file.name.lower(): file.name for file in sorted((root / folder).iterdir())}
    table["image"] = [found.get(name.lower(), name) for name in table["image"].fillna("")]
    table["path"] = f"{folder}/" + table["image"]
    table["mos"] = scores(table["mos"], source)
    table["content"] = "I" + table["image"].str[1:3]
    return Labels(
        name="tid2013",
        source=source,
        root=root,
        table=table,
        score_kind="MOS, 0..9",
        image_folder=folder,
    )
