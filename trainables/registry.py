"""Looking a name up among those that are registered."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


def look_up(registry: Mapping[str, T], name: str, what: str) -> T:
    """What stands behind a name; ValueError for an unknown one, with the nearest and all of them.

    what: the kind of thing, in words.
    """
    if name not in registry:
        nearest = get_close_matches(name, registry, n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]!r}? There" if nearest else "; there"
        raise ValueError(f"unknown {what} {name!r}{hint} are {', '.join(registry)}")
    return registry[name]
