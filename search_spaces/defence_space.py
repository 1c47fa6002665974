"""What a defence other than NT searches: `search_spaces/defences/<name>.yaml`, the same for every baseline.

An axis `{times_nt: 1000}` is the baseline's own range of NT's λ, times that. NT's space is in the baseline's file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from search_spaces.yaml_file import StudyFileError, read_yaml
from trainables.registry import unknown

FOLDER = Path(__file__).parent / "defences"
NT = "nt"
PARAMETERS = ("lam", "step_size", "eps")
"""What defences search, each some of it: weight, NT's step, a budget in [0, 1] pixels."""


def defences() -> list[str]:
    """Names of the defences that a study can be of."""
    return [NT, *sorted(path.stem for path in FOLDER.glob("*.yaml"))]


@cache
def searched_by(defence: str) -> tuple[str, ...]:
    """Which of `PARAMETERS` a study of this defence may search. StudyFileError for an unknown one."""
    if defence == NT:
        return ("lam", "step_size")
    return tuple(name for name in PARAMETERS if name in _read(defence)["space"])


def space_of(defence: str, nt_space: Mapping[str, Any]) -> dict[str, Any]:
    """`space`, `first_points` and `paper_point` of a study of this defence; nt_space: the baseline's own for NT."""
    found = _read(defence)
    axes = {name: _axis(axis, nt_space["lam"]) for name, axis in found["space"].items()}
    return {"space": axes, "first_points": found.get("first_points", []), "paper_point": {}}


def _axis(axis: Mapping[str, Any], nt_lam: Mapping[str, Any]) -> dict[str, Any]:
    times = axis.get("times_nt")
    if times is None:
        return dict(axis)
    # Eight digits, so that a range times 1000 is the number that a person would write.
    return {**nt_lam, **{end: float(f"{float(nt_lam[end]) * times:.8g}") for end in ("low", "high")}}


def _read(defence: str) -> dict[str, Any]:
    known = defences()
    if defence not in known:
        raise StudyFileError(unknown(defence, known, "defence"))
    return read_yaml(FOLDER / f"{defence}.yaml")
