"""Whether this distribution's packages are the ones that Python finds: four of them have names that others use too."""

from __future__ import annotations

from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

ROOMS = ("study", "trainables", "search_spaces", "analysis")
HOME = Path(__file__).resolve().parents[1]
"""The folder that holds this distribution's packages."""


def check_rooms(home: Path = HOME) -> None:
    """ImportError, one sentence, where another package has the name of one of ours and comes first."""
    for name in ROOMS:
        spec = find_spec(name)
        places = [] if spec is None else [Path(place).resolve() for place in spec.submodule_search_locations or ()]
        if home / name in places[:1]:
            continue
        if not places:
            found = "no such package is found" if spec is None else f"{spec.origin} is found"
        else:
            found = f"{places[0]} is found{_owner(name, places[0])}"
        raise ImportError(
            f"nt-study's package {name!r} is in {home / name}, but {found}; start from another folder, take that one "
            "off PYTHONPATH, or install nt-study into an environment of its own"
        )


def _owner(name: str, place: Path) -> str:
    """Which distribution a package belongs to, where it was installed."""
    owners = [owner for owner in packages_distributions().get(name, []) if owner.lower() != "nt-study"]
    return f" (of {', '.join(owners)})" if owners and "site-packages" in place.parts else ""
