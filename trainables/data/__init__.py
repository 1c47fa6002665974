"""Data sets by name: `open_dataset("photos")`, `open_dataset("livec:/path")`, `open_dataset("csv:/path/list.csv")`."""

import difflib
from collections.abc import Callable
from pathlib import Path

from trainables.data.bid import read_bid
from trainables.data.csiq import read_csiq
from trainables.data.image_set import ImageSet
from trainables.data.kadid10k import read_kadid10k
from trainables.data.koniq10k import read_koniq10k
from trainables.data.labelled import open_labelled
from trainables.data.labels import Labels
from trainables.data.livec import read_livec
from trainables.data.manifest import read_manifest
from trainables.data.photos import open_photos
from trainables.data.spaq import read_spaq
from trainables.data.tid2013 import read_tid2013
from trainables.files import default_cache_dir

LABEL_READERS: dict[str, Callable[[Path], Labels]] = {
    "livec": read_livec,
    "koniq10k": read_koniq10k,
    "kadid10k": read_kadid10k,
    "spaq": read_spaq,
    "bid": read_bid,
    "tid2013": read_tid2013,
    "csiq": read_csiq,
    "csv": read_manifest,
}
"""Name -> reader of the labels at a place on disk. The embedded `photos` has no place."""


def open_dataset(spec: str, *, cache_dir: Path | None = None, skip_unreadable: bool = False) -> ImageSet:
    """The images and scores that `spec` names, as `photos`, `photos:small` or `NAME:PLACE`.

    What is decoded or made is kept under `cache_dir` (default: `$XDG_CACHE_HOME/nt-study`), and a second opening takes
    it from there. `skip_unreadable` leaves out files that are missing, damaged or without a score.
    Raises ValueError that says what is wrong with the name or the data.
    """
    name, _, place = spec.partition(":")
    cache_dir = cache_dir or default_cache_dir()
    if name == "photos":
        return open_photos(place, cache_dir)
    if name not in LABEL_READERS:
        known = ["photos", *LABEL_READERS]
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
        raise ValueError(f"there is no data set {name!r}; did you mean {nearest!r}? (known: {', '.join(known)})")
    return open_labelled(LABEL_READERS[name], place, cache_dir, skip_unreadable=skip_unreadable)
