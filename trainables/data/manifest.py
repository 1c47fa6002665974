"""Any images, by a table of one's own."""

from pathlib import Path

from trainables.data.labels import Labels, read_csv, require_columns, scores


def read_manifest(path: Path) -> Labels:
    """Labels of a UTF-8 CSV file with the columns `image,mos[,std,content,split]`.

    `image` is a path below the file's folder, `mos` is higher for better, rows that share a `content` (a photograph's
    versions) stay on one side of a split, and `split` says train, validation or test.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}; give a CSV file with the columns image and mos")
    table = read_csv(path, dtype={"image": str, "content": str, "split": str}, skipinitialspace=True)
    require_columns(table, ["image", "mos"], path)
    if table["image"].isna().any():
        raise ValueError(f"{path}: row {int(table['image'].isna().argmax()) + 2} has no image")
    labels = table[["image"]].assign(path=table["image"], mos=scores(table["mos"], path))
    if "std" in table:
        labels["std"] = scores(table["std"], path)
    labels["content"] = table["content"].fillna(table["image"]) if "content" in table else table["image"]
    if "split" in table:
        labels["split"] = table["split"]
    return Labels(
        name="csv",
        source=path,
        root=path.parent,
        table=labels,
        score_kind="as in the manifest, higher is better",
    )
