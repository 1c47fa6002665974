"""Which attacks of a study vary one parameter: the axes of Figure 6 and the rows of Table S2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainables.record import CHECK

Attacks = Mapping[str, Mapping[str, Any]]
"""Label -> {"name": …, parameters}, as in the study file."""


def series_over(attacks: Attacks, parameter: str) -> list[list[str]]:
    """Groups of labels whose attacks differ in `parameter` alone, each in its order; groups of one are left out.

    So are the audit's checks, which are no results.
    """
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for label, entry in attacks.items():
        if parameter in entry and not label.endswith(CHECK):
            rest = tuple(sorted((key, repr(value)) for key, value in entry.items() if key != parameter))
            groups.setdefault(rest, []).append(label)
    return [
        sorted(labels, key=lambda label: attacks[label][parameter]) for labels in groups.values() if len(labels) > 1
    ]
