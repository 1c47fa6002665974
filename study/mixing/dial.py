"""The dial: the model of a study that keeps a bound on one objective and is best in the other, mixed where needed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rich.console import Console

from analysis.filling import NARROWEST, MixturePath, paths
from analysis.front import TrialPoint
from study.errors import StudyError
from study.looking.front_files import refresh_front
from study.mixing.filling import points_of, record_here, values_text
from study.storage.directory import StudyDirectory
from trainables.objectives import objective

WISH = re.compile(r"\s*([a-z_/0-9]+)\s*(>=|<=)\s*([-+.0-9eE]+)\s*")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A bound on one of a study's objectives, such as `srocc>=0.70`."""

    name: str
    bound: float
    other: str
    """The objective that is to be as good as it can be."""

    def loss(self, point: TrialPoint) -> float:
        """How far the model is from the bound, in the objective's unit; 0 or less where it keeps it."""
        return _as_loss(self.name, point.validation[self.name]) - _as_loss(self.name, self.bound)

    def is_met(self, point: TrialPoint) -> bool:
        return self.loss(point) <= 0

    def rest(self, point: TrialPoint) -> float:
        """The other objective as a loss."""
        return _as_loss(self.other, point.validation[self.other])


def read_wish(text: str, objectives: tuple[str, ...]) -> Wish:
    """A wish as it is written. StudyError for what is none, or bounds an objective from its bad side."""
    examples = " or ".join(f'"{name}{_sign(name)}…"' for name in objectives)
    found = WISH.fullmatch(text)
    try:
        name, sign, bound = found[1], found[2], float(found[3])  # type: ignore[index]
    except (TypeError, ValueError):
        raise StudyError(f"--at {text!r} is no bound; write {examples}") from None
    if name not in objectives:
        raise StudyError(f"--at {text!r}: {name!r} is no objective of this study; write {examples}")
    if sign != _sign(name):
        raise StudyError(f"--at {text!r} bounds {name} from its bad side; write {examples}")
    return Wish(name=name, bound=bound, other=next(one for one in objectives if one != name))


def model_at(directory: StudyDirectory, text: str, console: Console) -> TrialPoint:
    """The model that meets a wish such as `srocc>=0.70` on validation with the best other objective.

    The mixtures tried on the way are recorded in the study, as every mixture is. StudyError for a wish that cannot be
    read, and, with what can be reached, for one that no model meets.
    """
    wish = read_wish(text, directory.read_study_file().objectives)
    with directory.locked():
        _near(directory, wish, console)
        refresh_front(directory)
        directory.send()
    return best_of(points_of(directory), wish, directory.name)


def best_of(points: list[TrialPoint], wish: Wish, study: str) -> TrialPoint:
    """The best of the models that meet the wish; StudyError, with what can be reached, where none does."""
    meeting = [point for point in points if wish.is_met(point)]
    if not meeting:
        values = sorted(point.validation[wish.name] for point in points)
        reached = f"they go from {values[0]:.4g} to {values[-1]:.4g}" if values else "there is none yet"
        raise StudyError(
            f"no model of study {study!r} has {wish.name} {_sign(wish.name)} {wish.bound:g} on validation: {reached}; "
            "ask for a value in between"
        )
    return min(meeting, key=lambda point: (wish.rest(point), wish.loss(point)))


def _near(directory: StudyDirectory, wish: Wish, console: Console) -> None:
    """Halve the gap between a model that meets the wish and a better one that does not, until it is as narrow as is."""
    while (found := _gap(directory, wish)) is not None:
        path, middle = found
        mixture = path.at(middle)
        record_here(directory, [mixture])
        made = next(point for point in points_of(directory) if point.trial == mixture.name)
        console.print(f"{mixture.name}: {values_text((wish.name, wish.other), made)}", highlight=False)


def _gap(directory: StudyDirectory, wish: Wish) -> tuple[MixturePath, float] | None:
    """The path and the middle of the gap to look into next: the one whose end that meets the wish is best."""
    points = points_of(directory)
    best = best_of(points, wish, directory.name)
    found = []
    for path in paths(points, (wish.name, wish.other)):
        for (low, first), (high, second) in path.gaps():
            inside, outside = (first, second) if wish.is_met(first) else (second, first)
            is_crossing = wish.is_met(inside) and not wish.is_met(outside)
            if (
                is_crossing
                and not path.is_blocked
                and high - low >= 2 * NARROWEST
                and wish.rest(outside) < wish.rest(best)
            ):
                found.append((wish.rest(inside), path, (low + high) / 2))
    return min(found, key=lambda gap: gap[0])[1:] if found else None


def _sign(name: str) -> str:
    return ">=" if objective(name).direction == "maximize" else "<="


def _as_loss(name: str, value: float) -> float:
    return -value if objective(name).direction == "maximize" else value
