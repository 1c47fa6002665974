"""KADID-10k: 81 references, each with 25 distortions in 5 levels (Lin et al., QoMEX 2019)."""

from pathlib import Path, PurePosixPath

import numpy as np

from trainables.data.labels import Labels, image_folder, read_csv, release_root, require_columns, scores


def read_kadid10k(place: Path) -> Labels:
    """Labels of a folder with `dmos.csv` and `images/`. Its "dmos" is 1..5 with 5 the best, so nothing is turned."""
    root = release_root(place, "dmos.csv")
    source = root / "dmos.csv"
    table = read_csv(source)
    require_columns(table, ["dist_img", "ref_img", "dmos"], source)
    folder = image_folder(root, "images")
    labels = table[["dist_img"]].rename(columns={"dist_img": "image"}).astype(str)
    labels["path"] = f"{folder}/" + labels["image"]
    labels["mos"] = scores(table["dmos"], source)
    if "var" in table:
        labels["std"] = np.sqrt(scores(table["var"], source))
    labels["content"] = [PurePosixPath(str(reference)).stem for reference in table["ref_img"]]
    return Labels(
        name="kadid10k",
        source=source,
        root=root,
        table=labels,
        score_kind='1..5, higher is better although the release calls it "dmos"',
        image_folder=folder,
        unlabelled=frozenset(table["ref_img"].astype(str)),
    )
