"""CSIQ: 30 references, six distortions in four to five levels, 866 images (Larson and Chandler, 2010)."""

from pathlib import Path

from trainables.data.labels import Labels, image_folder, read_csv, release_root, scores


def read_csiq(place: Path) -> Labels:
    """Labels of a folder with `csiq_label.txt` ("name DMOS" per line) and `dst_imgs_all/`.

    DMOS is 0..1 with 1 the worst; `mos` is 1 - DMOS.
    """
    root = release_root(place, "csiq_label.txt")
    source = root / "csiq_label.txt"
    table = read_csv(source, sep=r"\s+", header=None, names=["image", "dmos"], dtype=str)
    folder = image_folder(root, "dst_imgs_all")
    table["path"] = f"{folder}/" + table["image"]
    table["mos"] = 1 - scores(table.pop("dmos"), source)
    table["content"] = table["image"].str.split(".").str[0]
    return Labels(
        name="csiq",
        source=source,
        root=root,
        table=table,
        score_kind="DMOS 0..1 turned round: 1 - DMOS",
        image_folder=folder,
    )
