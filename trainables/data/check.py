"""What there is to know about a data set before a study trusts it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainables.data import open_dataset
from trainables.data.split import MosScale, SplitMode, leak_groups, split_table
from trainables.data.store import MappedStore
from trainables.seeding import derive_seed

NUM_BINS = 10


def check_dataset(
    spec: str, *, seed: int = 0, mode: SplitMode | None = None, cache_dir: Path | None = None
) -> dict[str, Any]:
    """Counts, scores, sizes, duplicates, unreadable files and split sizes of a set, ready for JSON.

    Unreadable files are reported, not raised; ValueError is left for a set that cannot be opened at all. `splits` are
    those that a study with `seed` and the split mode would have, or why it could not.
    """
    images = open_dataset(spec, cache_dir=cache_dir, skip_unreadable=True)
    table = images.table
    counts, edges = np.histogram(table["mos"], bins=NUM_BINS)
    sizes = pd.Series([f"{height}x{width}" for height, width in images.store.sizes]).value_counts()
    return {
        "name": images.name,
        "spec": images.spec,
        "fingerprint": images.fingerprint,
        "score_kind": images.score_kind,
        "images": len(table),
        "contents": int(table["content"].nunique()),
        "mos": {
            "minimum": float(table["mos"].min()),
            "maximum": float(table["mos"].max()),
            "mean": float(table["mos"].mean()),
            "histogram": {"edges": [float(edge) for edge in edges], "counts": [int(count) for count in counts]},
        },
        "sizes": {str(size): int(count) for size, count in sizes.items()},
        "decoded_bytes": int(images.store.sizes.prod(axis=1).sum()) * 3,
        "kept_decoded": isinstance(images.store, MappedStore),
        "conversions": images.conversions,
        "duplicates": _duplicates(table),
        "left_out": images.left_out,
        "splits": _splits(table, seed, mode),
    }


def _duplicates(table: pd.DataFrame) -> list[list[str]]:
    """Groups of images whose files are the same, byte for byte."""
    repeated = table[table["sha256"].duplicated(keep=False)]
    return [list(group["image"]) for _, group in repeated.groupby("sha256", sort=False)]


def _splits(table: pd.DataFrame, seed: int, mode: SplitMode | None) -> dict[str, Any]:
    try:
        rows = split_table(table, seed=derive_seed(seed, "split"), mode=mode)
        scale = MosScale.of_training(rows)
    except ValueError as error:
        return {"error": str(error)}
    counts = {str(name): int(count) for name, count in rows["split"].value_counts().items()}
    sides = rows.groupby(leak_groups(rows))["split"].nunique()
    return {
        "images": counts,
        "mos_minimum": scale.minimum,
        "mos_maximum": scale.maximum,
        "contents_on_two_sides": int((sides > 1).sum()),
    }
