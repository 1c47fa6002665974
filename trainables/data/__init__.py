"""Data sets by name: `open_dataset("photos")`, `open_dataset("livec:/path")`, `open_dataset("csv:/path/list.csv")`."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from trainables.data.agiqa3k import read_agiqa3k
from trainables.data.bid import read_bid
from trainables.data.biq2021 import read_biq2021
from trainables.data.csiq import read_csiq
from trainables.data.image_set import ImageSet
from trainables.data.kadid10k import read_kadid10k
from trainables.data.koniq10k import read_koniq10k
from trainables.data.labelled import open_labelled
from trainables.data.labels import Labels
from trainables.data.livec import read_livec
from trainables.data.manifest import TABLES, read_manifest
from trainables.data.photos import open_photos
from trainables.data.spaq import read_spaq
from trainables.data.tid2013 import read_tid2013
from trainables.files import default_cache_dir, whole_path
from trainables.registry import unknown

LABEL_READERS: dict[str, Callable[[Path], Labels]] = {
    "livec": read_livec,
    "koniq10k": read_koniq10k,
    "kadid10k": read_kadid10k,
    "spaq": read_spaq,
    "bid": read_bid,
    "tid2013": read_tid2013,
    "csiq": read_csiq,
    "biq2021": read_biq2021,
    "agiqa3k": read_agiqa3k,
    "csv": read_manifest,
}
"""Name -> reader of the labels at a place on disk. The embedded `photos` has no place."""


def open_dataset(spec: str, *, cache_dir: Path | None = None, skip_unreadable: bool = False) -> ImageSet:
    """The images and scores that `spec` names, as `photos`, `photos:small` or `NAME:PLACE`.

    What is decoded or made is kept under `cache_dir` (default: `$XDG_CACHE_HOME/nt-study`), and a second opening takes
    it from there. `skip_unreadable` leaves out files that are missing, damaged or without a score.
    Raises ValueError that says what is wrong with the name or the data.
    """
    name, _, place = whole_spec(spec).partition(":")
    cache_dir = cache_dir or default_cache_dir()
    if name == "photos":
        return open_photos(place, cache_dir)
    return open_labelled(LABEL_READERS[name], Path(place), cache_dir, skip_unreadable=skip_unreadable)


def check_labels(spec: str) -> pd.DataFrame | None:
    """The table of the label files that `spec` names; None for a set without any. No image is read.

    Takes a moment where `open_dataset` may take minutes. ValueError for what is wrong with them, or if none is there.
    """
    name, _, place = whole_spec(spec).partition(":")
    return LABEL_READERS[name](Path(place)).table if name in LABEL_READERS else None


def whole_spec(spec: str) -> str:
    """`spec` with its place as a whole path, so that it names the same images from any folder.

    Raises ValueError for an unknown name, and for a name that needs a place and has none.
    """
    name, is_with_place, place = spec.partition(":")
    name, place = name.strip().lower(), place.lstrip()
    if name == "photos":
        return f"photos:{place}" if is_with_place else name
    if name not in LABEL_READERS:
        raise ValueError(_no_such_set(spec, name))
    if not place:
        raise ValueError(f"data set {name!r} needs a place: write {name}:/path/to/it")
    return f"{name}:{whole_path(place)}"


def _no_such_set(spec: str, name: str) -> str:
    known = ["photos", *LABEL_READERS]
    path = whole_path(spec)
    if path.is_file() or path.suffix.lower() in TABLES:
        return f"{spec!r} says where images are and not which: write csv:{spec} for a table of images and ratings"
    if path.is_dir():
        return f"{spec!r} says where images are and not which: write NAME:{spec}, with one of {', '.join(known)}"
    return unknown(name, known, "data set")
