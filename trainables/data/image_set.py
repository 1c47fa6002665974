"""A labelled set of images, ready to split and train on."""

import hashlib
from dataclasses import dataclass, field

import pandas as pd

from trainables.data.store import ImageStore


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """What `open_dataset` returns. Row `i` of `table` is about `store[i]`."""

    name: str
    """The registry's name, such as "livec"."""
    spec: str
    """What was opened, as it can be opened again, such as "livec:/data/ChallengeDB_release"."""
    table: pd.DataFrame
    """One row per image: `image` (unique name), `mos` (higher is better, the set's own scale), `content` (rows of one
    photograph share it), `sha256`, and where the set has them `std` and `split`."""
    store: ImageStore
    """The pixels."""
    score_kind: str
    """What the scores are, in words: opinion or proxy, range, whether they were turned round."""
    conversions: dict[str, int] = field(default_factory=dict)
    """How many images were not 8-bit RGB, by what they were."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Images that were skipped on request, and why."""

    def __post_init__(self) -> None:
        if len(self.table) != len(self.store):
            raise ValueError(f"{self.spec} has {len(self.table)} labels for {len(self.store)} images")

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every image's name, hash, content and split: equal wherever the same images are kept.

        Scores are left to `verify_split`, because proxy scores differ in their last digit between processors.
        """
        columns = [name for name in ("image", "sha256", "content", "split") if name in self.table]
        return hashlib.sha256(self.table[columns].to_csv(index=False).encode()).hexdigest()
