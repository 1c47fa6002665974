"""Which images train, which choose, and which are looked at once at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from trainables.seeding import derive_seed

SPLITS = ("train", "validation", "test")
SplitMode = Literal["content", "random", "given", "authors"]
COLUMNS = {"given": "split", "authors": "split_authors"}
"""Mode that keeps a split which came with the set -> the table's column that has it."""
_MEANT = {"given": "split of its own", "authors": "authors' split"}
"""The same modes in words, for messages."""
SCORE_TOLERANCE = 0.02
"""Proxy scores are rounded float32 results, which differ this little between processors."""


@dataclass(frozen=True, kw_only=True)
class MosScale:
    """The training part's range of scores, which becomes 0..100 (supplement Eq. S10).

    Validation images are carved out of the training part and count with it here, so that the scale of the published
    split is the published one whichever images were drawn for validation.
    """

    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        if not self.minimum < self.maximum:
            raise ValueError(f"training scores from {self.minimum} to {self.maximum} span no range; add other images")

    @classmethod
    def of_training(cls, table: pd.DataFrame) -> "MosScale":
        """The scale of a split table's training part, validation included."""
        scores = table.loc[table["split"] != "test", "mos"]
        return cls(minimum=float(scores.min()), maximum=float(scores.max()))

    def normalise(self, mos: NDArray[np.floating]) -> NDArray[np.float64]:
        """From the set's own scale to 0..100. Scores outside the training range fall outside 0..100."""
        return (np.asarray(mos, dtype=np.float64) - self.minimum) / (self.maximum - self.minimum) * 100


def comes_with(table: pd.DataFrame, mode: SplitMode) -> bool:
    """Whether a set's table can be split by this mode: `given` and `authors` keep a column that not all sets have."""
    return mode not in COLUMNS or COLUMNS[mode] in table


def require_split(table: pd.DataFrame, mode: SplitMode) -> None:
    """Raise ValueError where a set does not come with what this mode keeps."""
    if not comes_with(table, mode):
        raise ValueError(
            f"this data set has no {_MEANT[mode]} (column {COLUMNS[mode]!r}), which split mode {mode!r} keeps; "
            "add --split content, which draws the parts"
        )


def split_table(
    table: pd.DataFrame,
    *,
    seed: int,
    mode: SplitMode | None = None,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
) -> pd.DataFrame:
    """`table` with every row's `split` (train, validation or test) and its `index` in the store.

    Modes: `content` draws whole contents, so that no photograph, and no copy of a file, is on two sides; `random`
    draws images, where each is its own content; `given` keeps the table's `split` column; `authors` keeps the
    `split_authors` column (LIVEC: 930 images for training, 232 for test). Without a mode: `given` where there is such
    a column, else `content`. Where a kept split has no validation part, one is drawn from its training part by
    content, with the share of it that `fractions` (train, validation, test) gives.

    Raises ValueError where a part would be empty or the mode does not fit the table.
    """
    mode = mode or ("given" if "split" in table else "content")
    _check_fractions(fractions)
    train, validation, _ = fractions
    result = table.assign(index=np.arange(len(table)))
    groups = leak_groups(table)
    if mode in COLUMNS:
        require_split(table, mode)
        splits = _check_names(table[COLUMNS[mode]])
        if not (splits == "validation").any():
            is_train = (splits == "train").to_numpy()
            shares = {"train": train, "validation": validation}
            splits[is_train] = _draw(groups[is_train], shares, seed)
    elif mode in ("content", "random"):
        if mode == "random" and len(np.unique(groups)) < len(table):
            raise ValueError("split mode 'random' would put one photograph on two sides; use 'content'")
        splits = pd.Series(_draw(groups, dict(zip(SPLITS, fractions, strict=True)), seed), index=table.index)
    else:
        raise ValueError(f"there is no split mode {mode!r}; use 'content', 'random', 'given' or 'authors'")
    result["split"] = splits.astype(str)
    _check_not_empty(result["split"])
    return result.drop(columns="split_authors", errors="ignore")


def verify_split(recorded: pd.DataFrame, table: pd.DataFrame, *, spec: str) -> None:
    """Raise ValueError where the images or scores of `table` are no longer those of a recorded split table."""
    merged = recorded.merge(table, on="image", how="outer", suffixes=("", "_now"), indicator=True)
    if (merged["_merge"] != "both").any():
        names = merged.loc[merged["_merge"] != "both", "image"]
        raise ValueError(
            f"{spec} has gained or lost {len(names)} images since the study began, such as {names.iloc[0]}"
        )
    for column, differs in (
        ("sha256", merged["sha256"] != merged["sha256_now"]),
        ("mos", (merged["mos"] - merged["mos_now"]).abs() > SCORE_TOLERANCE),
    ):
        if differs.any():
            name = merged.loc[differs, "image"].iloc[0]
            others = f" and {int(differs.sum()) - 1} more images" if differs.sum() > 1 else ""
            raise ValueError(
                f"{spec} has another {column} for {name}{others} than when the study began; "
                "restore the data or start a new study"
            )


def locate(recorded: pd.DataFrame, table: pd.DataFrame, *, spec: str) -> pd.DataFrame:
    """A recorded split with `index` where `table` has each image's file now, whatever else is there and in what order.

    Raises ValueError where a file is missing or no longer the same.
    """
    position = pd.Series(np.arange(len(table)), index=table["sha256"]).groupby(level=0).first()
    index = recorded["sha256"].map(position)
    if index.isna().any():
        name = recorded.loc[index.isna(), "image"].iloc[0]
        raise ValueError(
            f"{spec} as this machine has it lacks {int(index.isna().sum())} of the images that were split, or has "
            f"others in their place, such as {name}; give every machine the same files"
        )
    return recorded.assign(index=index.astype(np.int64))


def leak_groups(table: pd.DataFrame) -> NDArray[np.int64]:
    """`(n,)` group numbers; rows that share a content or a file's hash share a group, directly or through others."""
    content = pd.factorize(table["content"])[0]
    file = pd.factorize(table["sha256"])[0] + content.max() + 1
    num_nodes = int(file.max()) + 1
    edges = coo_array((np.ones(len(table)), (content, file)), shape=(num_nodes, num_nodes))
    return connected_components(edges, directed=False)[1][content].astype(np.int64)


def _draw(groups: NDArray[np.int64], shares: dict[str, float], seed: int) -> NDArray[np.object_]:
    """A split name per row: whole groups, at least one per name, in the proportion of `shares`."""
    unique = np.unique(groups)
    if len(unique) < len(shares):
        raise ValueError(
            f"{len(unique)} different contents cannot be split into {', '.join(shares)} without an empty part; "
            "add images or give a split column"
        )
    order = np.random.default_rng(derive_seed(seed, "split")).permutation(unique)
    ends = np.cumsum(list(shares.values())) / sum(shares.values()) * len(unique)
    names = np.empty(int(groups.max()) + 1, dtype=object)
    start = 0
    for i, (name, end) in enumerate(zip(shares, ends, strict=True)):
        still_needed = len(shares) - 1 - i
        stop = min(max(start + 1, round(end)), len(unique) - still_needed)
        names[order[start:stop]] = name
        start = stop
    return names[groups]


def _check_fractions(fractions: Sequence[float]) -> None:
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"split fractions are three positive numbers that add up to 1, got {tuple(fractions)}")


def _check_names(splits: pd.Series) -> pd.Series:
    unknown = sorted(set(splits.astype(str)) - set(SPLITS))
    if unknown:
        raise ValueError(f"the split column may say train, validation or test, not {unknown[0]!r}")
    return splits.astype(object).copy()


def _check_not_empty(splits: pd.Series) -> None:
    for name in SPLITS:
        if not (splits == name).any():
            raise ValueError(f"the {name} part of the split is empty; give it images or let the split be drawn")
