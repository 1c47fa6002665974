"""Looking a name up among those that are registered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


def look_up(registry: Mapping[str, T], name: str, what: str) -> T:
    """What stands behind a name; ValueError for an unknown one, with the nearest and all of them.

    what: the kind of thing, in words.
    """
    if name not in registry:
        raise ValueError(unknown(name, registry, what))
    return registry[name]


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """The sentence that says so of a name, with the nearest of those that are known and all of them."""
    names = list(known)
    nearest = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}? There" if nearest else "; there"
    return f"unknown {what} {name!r}{hint} are {', '.join(names)}"
