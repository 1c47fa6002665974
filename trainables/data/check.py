"""What there is to know about a data set before a study trusts it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.data import open_dataset
from trainables.data.split import MosScale, SplitMode, leak_groups, split_table
from trainables.data.store import MappedStore
from trainables.seeding import derive_seed

NUM_BINS = 10
FEW_IMAGES = 300
"""Of training images: below this a set is called small. A judgement, not a measurement."""
FEW_TO_MEASURE = 50
"""Images of a part: below this, chance alone moves a SROCC by 0.28 or more."""
FEW_TWICE = 0.01
"""Share of images whose file has another rating elsewhere in the set, up to which nothing is said of it."""
NARROW = 0.1
"""Ratings are narrow where the middle half of them lies within this share of their range, or all of them within this
share of their magnitude: then most pairs of images differ by less than raters do."""


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
        "doubts": _doubts(table, seed, mode),
    }


def smaller_than(rows: pd.DataFrame, sizes: NDArray[np.int64], height: int, width: int) -> dict[str, tuple[int, int]]:
    """The images among `rows` (`index` into `sizes`, `image`) from which no such view can be cut, with their size."""
    there = sizes[rows["index"].to_numpy()]
    is_small = (there < (height, width)).any(axis=1)
    return {
        str(name): (int(size[0]), int(size[1]))
        for name, size in zip(rows["image"][is_small], there[is_small], strict=True)
    }


def doubts(rows: pd.DataFrame, mos: pd.Series) -> list[str]:
    """Why a set may teach a model nothing, or too few images be left to measure it: few of them, alike, or rated twice.

    rows: `image`, `sha256`, `split`; mos: the scores on the set's own scale.
    """
    found = []
    training = int((rows["split"] == "train").sum())
    if training < FEW_IMAGES:
        found.append(f"{training} training images are few")
    for part in ("validation", "test"):
        measured = int((rows["split"] == part).sum())
        if 1 < measured < FEW_TO_MEASURE:
            luck = _by_luck(measured)
            gives = f"a SROCC beyond ±{luck:.2f} one time in twenty" if luck < 1 else "any SROCC"
            found.append(f"on {measured} {part} images chance alone gives {gives}")
    lowest, low, high, highest = mos.quantile([0, 0.25, 0.75, 1])
    if high - low <= NARROW * (highest - lowest) or highest - lowest <= NARROW * max(abs(lowest), abs(highest)):
        found.append(f"half of the ratings lie between {low:.4g} and {high:.4g} ({lowest:.4g} to {highest:.4g} in all)")
    twice = mos.groupby(rows["sha256"]).transform("nunique") > 1
    if twice.mean() > FEW_TWICE:
        names = rows.loc[rows["sha256"] == rows.loc[twice, "sha256"].iloc[0], "image"]
        found.append(f"the same file has different ratings as {' and as '.join(names[:2])}")
    return found


def _by_luck(images: int) -> float:
    """The SROCC beyond which one in twenty random rankings of so many images lies, in normal approximation."""
    return min(1.0, 1.96 / math.sqrt(images - 1))


def _duplicates(table: pd.DataFrame) -> list[list[str]]:
    """Groups of images whose files are the same, byte for byte."""
    repeated = table[table["sha256"].duplicated(keep=False)]
    return [list(group["image"]) for _, group in repeated.groupby("sha256", sort=False)]


def _doubts(table: pd.DataFrame, seed: int, mode: SplitMode | None) -> list[str]:
    try:
        return doubts(split_table(table, seed=derive_seed(seed, "split"), mode=mode), table["mos"])
    except ValueError:
        return []


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
