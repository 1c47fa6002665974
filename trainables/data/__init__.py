"""Data sets by name: `open_dataset("photos")`, `open_dataset("livec:/path")`, `open_dataset("csv:/path/list.csv")`."""

import difflib
from collections.abc import Callable
from pathlib import Path

from trainables.data.cache import default_cache_dir
from trainables.data.image_set import ImageSet
from trainables.data.photos import open_photos

DATASETS: dict[str, Callable[[str, Path], ImageSet]] = {
    "photos": open_photos,
}
"""Name -> function of (what follows the colon, cache folder)."""


def open_dataset(spec: str, *, cache_dir: Path | None = None) -> ImageSet:
    """The images and scores that `spec` names, as `NAME` or `NAME:PLACE`.

    What is decoded or made is kept under `cache_dir` (default: `$XDG_CACHE_HOME/nt-study`).
    Raises ValueError that says what is wrong with the name or the data.
    """
    name, _, place = spec.partition(":")
    if name not in DATASETS:
        nearest = difflib.get_close_matches(name, DATASETS, n=1, cutoff=0)[0]
        raise ValueError(f"there is no data set {name!r}; did you mean {nearest!r}? (known: {', '.join(DATASETS)})")
    return DATASETS[name](place, cache_dir or default_cache_dir())
