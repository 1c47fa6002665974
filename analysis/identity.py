"""Whether two score tables are of one model: the same evidence, given twice, counts once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

import pandas as pd

from analysis.metrics import rows_of
from trainables.objectives import DEFAULT_ATTACK

COMPARED = ["image", "clean_score", "attacked_score"]

T = TypeVar("T")


def evidence_of(tables: Iterable[pd.DataFrame], split: str, attack: str = DEFAULT_ATTACK) -> str:
    """A digest of what models score under an attack, image by image: two models never agree in every digit."""
    digest = hashlib.sha256()
    for table in tables:
        rows = rows_of(table, split, attack)[COMPARED]
        digest.update(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def once(items: Sequence[tuple[str, T]]) -> list[T]:
    """The items whose digest has not been seen before; an empty digest is nobody's."""
    seen: set[str] = set()
    kept = []
    for digest, item in items:
        if not digest or digest not in seen:
            kept.append(item)
        seen.add(digest)
    return kept
