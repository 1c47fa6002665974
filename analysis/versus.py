"""Two studies against each other on the same photographs: differences with intervals, and what they amount to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from analysis.front import Front, TrialPoint
from analysis.labels import axis_label
from analysis.metrics import Interval, difference
from analysis.verdicts import better
from trainables.objectives import WORST


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One objective of two models."""

    role: str
    """What the two are in their studies: "knee", "most accurate" or "most robust"."""
    first: str
    second: str
    """The two models, by trial."""
    name: str
    """The objective's."""
    change: Interval
    """The second study's value minus the first's on test images, with its 95 % interval, paired over photographs."""

    @property
    def better(self) -> int:
        """Which study is better here: 1, 2, or 0 where the difference is undecided or too small to matter."""
        return {"holds": 2, "does not hold": 1}.get(better(self.change, self.name), 0)


def differences(
    first: Front, second: Front, tables: Mapping[str, pd.DataFrame], other_tables: Mapping[str, pd.DataFrame]
) -> list[Difference]:
    """The two studies' knees, most accurate and most robust models against each other, objective by objective.

    tables, other_tables: the score table of each of these trials, of the first and of the second study. Paired: of both
    models the same photographs are drawn. An objective that is a worst over attacks has no interval and is left out.
    Raises ValueError where the tables are not of the same images.
    """
    found = []
    for role, one, other in _pairs(first, second):
        for name in first.objectives:
            if name not in WORST:
                change = difference([tables[one.trial]], [other_tables[other.trial]], "test", name)
                found.append(Difference(role=role, first=one.trial, second=other.trial, name=name, change=change))
    return found


def members(front: Front) -> list[str]:
    """The trials of a front that `differences` asks for."""
    return list(dict.fromkeys(point.trial for point in (front.knee, front.most_accurate, front.most_robust)))


def _pairs(first: Front, second: Front) -> list[tuple[str, TrialPoint, TrialPoint]]:
    return [
        ("knee", first.knee, second.knee),
        ("most accurate", first.most_accurate, second.most_accurate),
        ("most robust", first.most_robust, second.most_robust),
    ]


def verdict(first: Front, second: Front, found: list[Difference]) -> str:
    """What the differences amount to, in a sentence; nothing is better where one of the studies learned nothing."""
    doubtful = [front.study for front in (first, second) if front.doubt]
    if doubtful:
        return f"no verdict: {' and '.join(doubtful)} has not been shown to be better than chance"
    names = {1: first.study, 2: second.study}
    won = {winner: [one for one in found if one.better == winner] for winner in (1, 2)}
    if not won[1] and not won[2]:
        return f"undecided: on these photographs {first.study} and {second.study} cannot be told apart"
    parts = [f"{names[winner]} is better in {_list(of)}" for winner, of in won.items() if of]
    undecided = len(found) - len(won[1]) - len(won[2])
    return "; ".join(parts) + (f"; {undecided} of {len(found)} differences are undecided" if undecided else "")


def _list(found: list[Difference]) -> str:
    roles = {one.name: [other.role for other in found if other.name == one.name] for one in found}
    return " and ".join(f"{axis_label(name)} ({', '.join(those)})" for name, those in roles.items())
