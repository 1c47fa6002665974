"""Which of several defences of one network is best, and at what: equal accuracy, equal robustness, equal cost.

A study's models are chosen on validation and compared on test images. One trained with new seeds speaks by its new
seeds alone: its own one was chosen for its luck. "No difference shown" is an answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.front import Front, TrialPoint
from analysis.labels import number, title
from analysis.metrics import LEVEL, Interval, Sample, sample
from analysis.verdicts import better
from trainables.objectives import objective
from trainables.record import results_in

SPLIT = "test"
GIVEN_UP = 0.02
"""Of the λ=0 baseline's first objective on validation, that a defence may cost at "equal accuracy"."""
ROBUST_SHARE = 0.5
"""Of the λ=0 baseline's attacked RMSE on validation, that is left at "equal robustness"."""
FEWEST_SEEDS = 2
"""New seeds from which on a model speaks by these, and not by the one that it was chosen with."""
WORST = "rmse_attacked_worst"


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A study as far as this comparison is concerned."""

    front: Front
    tables: Mapping[str, pd.DataFrame]
    """Trial -> its score table."""
    retrained: Mapping[str, Sequence[pd.DataFrame]]
    """Trial -> score tables of the same training with new seeds, in the seeds' order."""

    def seeds_of(self, point: TrialPoint) -> list[pd.DataFrame]:
        """The score tables that a model speaks by: of its new seeds, where there are several, else its own."""
        again = list(self.retrained.get(point.trial, ()))
        return again if len(again) >= FEWEST_SEEDS else [self.tables[point.trial]]

    @property
    def spent(self) -> int:
        """Passes over the training views that its own trainings took, the shared baseline left out."""
        return sum(point.passes for point in self.front.points if not point.is_baseline)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a study has to offer for a question."""

    name: str
    trial: str
    setting: str
    passes: int
    """Of that trial's own training."""
    found: Interval
    """The question's number on test, with its 95 % interval over photographs, and over seeds if there are several."""
    behind: Interval | None
    """That number minus the leader's, with the interval of the difference; None for the leader."""
    seeds: int
    """How many that difference is over; the leader's own number otherwise."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    question: str
    measure: str
    """What is compared, such as "attacked RMSE"."""
    standings: tuple[Standing, ...]
    """The leader on validation first, then the others in their order there."""
    verdict: str


def is_of_rivals(fronts: Sequence[Front]) -> bool:
    """Whether there is something to ask: studies of more than one defence, all with a λ=0 baseline."""
    return len({front.defence for front in fronts}) > 1 and all(front.baseline is not None for front in fronts)


def answers(rivals: Sequence[Rival]) -> list[Answer]:
    """The four questions, as far as the studies can answer them.

    The studies are of one network, data and split, and of the same two first objectives, the accuracy and the
    robustness. Levels are the first study's λ=0 baseline's on validation, less what `GIVEN_UP` and `ROBUST_SHARE` say,
    and relaxed to what every defence reaches. Intervals of differences are widened for so many comparisons.
    """
    first = rivals[0].front
    baseline = first.baseline
    assert baseline is not None
    accuracy, robustness = first.objectives[:2]
    # The control reaches no robustness, and its trials are the cheapest there are: it sets no level and no budget.
    defended = [rival for rival in rivals if rival.front.defence != "none"]
    up, down = _sign(accuracy), _sign(robustness)
    accurate = min(
        up * baseline.validation[accuracy] - GIVEN_UP,
        *(max(up * point.validation[accuracy] for point in rival.front.points) for rival in defended),
    )
    robust = min(
        down * baseline.validation[robustness] * (ROBUST_SHARE if down < 0 else 1),
        *(max(down * point.validation[robustness] for point in rival.front.points) for rival in defended),
    )
    at_accuracy = f"{title(accuracy)} of at least {number(up * accurate)} on validation"

    def is_accurate(point: TrialPoint) -> bool:
        return up * point.validation[accuracy] >= accurate

    def is_robust(point: TrialPoint) -> bool:
        return down * point.validation[robustness] >= robust

    everything = [list(rival.front.points) for rival in rivals]
    budget = min(rival.spent for rival in defended)
    affordable = [_within(rival, budget) for rival in rivals]
    at_robustness = f"{title(robustness)} of at {'most' if down < 0 else 'least'} {number(down * robust)} on validation"
    cost = f"{budget} passes over the training images"
    asked = [
        _answer(f"At equal accuracy: {at_accuracy}", robustness, _picked(rivals, everything, is_accurate, robustness)),
        _answer(f"At equal robustness: {at_robustness}", accuracy, _picked(rivals, everything, is_robust, accuracy)),
        _answer(
            f"Under the worst attack, at equal accuracy ({at_accuracy})",
            WORST,
            _picked(rivals, everything, is_accurate, WORST),
        ),
        _answer(
            f"At equal cost of the search ({cost}) and equal accuracy",
            robustness,
            _picked(rivals, affordable, is_accurate, robustness),
        ),
    ]
    return [answer for answer in asked if answer is not None]


def as_markdown(found: Sequence[Answer]) -> str:
    """A table for each question, under a heading."""
    parts = ["## Which defence is best\n"]
    for answer in found:
        parts.append(f"### {answer.question}\n\n**{answer.verdict}**\n")
        parts.append(f"| study | model | {answer.measure}, test [95 %] | against the first | seeds | passes |")
        parts.append("|---|---|---|---|---|---|")
        for one in answer.standings:
            against = "" if one.behind is None else _text(one.behind, sign="+")
            model = f"{one.trial} ({one.setting})"
            parts.append(f"| {one.name} | {model} | {_text(one.found)} | {against} | {one.seeds} | {one.passes} |")
        parts.append("")
    parts.append(
        "The first of each table leads on validation; numbers are of test images. An interval is over photographs, and "
        "over seeds where there are several; one of a difference is paired, and widened for so many comparisons. A "
        "difference counts where its interval leaves 0 out and it is worth having (`analysis/verdicts.py`). Passes: "
        "forward and backward, over the training images, of that model's own training.\n"
    )
    return "\n".join(parts)


def to_dict(answer: Answer) -> dict[str, object]:
    """As JSON can hold it."""

    def limits(found: Interval | None) -> list[float | None] | None:
        if found is None:
            return None
        return [x if math.isfinite(x) else None for x in (found.value, found.low, found.high)]

    rows = [{**vars(one), "found": limits(one.found), "behind": limits(one.behind)} for one in answer.standings]
    return {"question": answer.question, "measure": answer.measure, "verdict": answer.verdict, "standings": rows}


def _within(rival: Rival, budget: int) -> list[TrialPoint]:
    """The baseline and the first trials that were asked for, until their training costs more than `budget` passes."""
    found, spent = [], 0
    for point in sorted(rival.front.points, key=lambda point: (not point.is_baseline, len(point.trial), point.trial)):
        if point.is_mixture:
            continue
        spent += 0 if point.is_baseline else point.passes
        if spent > budget:
            break
        found.append(point)
    return found


Picked = list[tuple[Rival, TrialPoint]]


def _picked(
    rivals: Sequence[Rival],
    candidates: Sequence[Sequence[TrialPoint]],
    is_allowed: Callable[[TrialPoint], bool],
    name: str,
) -> Picked:
    """Each study's best allowed model by the objective `name` on validation, the best of all first."""

    def merit(point: TrialPoint) -> float:
        return _sign(name) * point.validation.get(name, -_sign(name) * math.inf)

    found = []
    for rival, points in zip(rivals, candidates, strict=True):
        allowed = [point for point in points if is_allowed(point)]
        if allowed:
            found.append((rival, max(allowed, key=merit)))
    return sorted(found, key=lambda pair: -merit(pair[1]))


def _answer(question: str, name: str, picked: Picked) -> Answer | None:
    """Who is best in the objective `name`; None where fewer than two studies have a model."""
    if len(picked) < 2:
        return None
    attacks = _common_attacks(picked) if name == WORST else []
    level = 1 - (1 - LEVEL) / (len(picked) - 1)

    def measured(tables: Sequence[pd.DataFrame]) -> Sample:
        return _worst(tables, attacks) if name == WORST else sample(tables, SPLIT, name)

    leader, leading = picked[0]
    standings = []
    for rival, point in picked:
        own, theirs = rival.seeds_of(point), leader.seeds_of(leading)
        behind, seeds = None, len(own)
        if rival is not leader:
            if min(len(own), len(theirs)) < FEWEST_SEEDS:
                own, theirs = [rival.tables[point.trial]], [leader.tables[leading.trial]]
            seeds = min(len(own), len(theirs))
            behind = (measured(own) - measured(theirs)).interval(level)
        standings.append(
            Standing(
                name=rival.front.name,
                trial=point.trial,
                setting=point.setting,
                passes=point.passes,
                found=measured(rival.seeds_of(point)).interval(),
                behind=behind,
                seeds=seeds,
            )
        )
    over = f", over {', '.join(attacks)}" if attacks else ""
    return Answer(
        question=f"{question}{over}",
        measure=title(name),
        standings=tuple(standings),
        verdict=_verdict(standings, name),
    )


def _common_attacks(picked: Picked) -> list[str]:
    """What every chosen model was measured under, the audit's checks left out."""
    tables = [table for rival, point in picked for table in (rival.tables[point.trial], *rival.seeds_of(point))]
    return sorted(set.intersection(*({*results_in(table)} for table in tables)))


def _worst(tables: Sequence[pd.DataFrame], attacks: Sequence[str]) -> Sample:
    """RMSE of each image's largest change over these attacks, as `objectives.worst_case` has it."""
    return sample([_furthest(table, attacks) for table in tables], SPLIT, f"rmse_attacked/{WORST}")


def _furthest(table: pd.DataFrame, attacks: Sequence[str]) -> pd.DataFrame:
    """A score table of one attack, which does to each image what moves its score most."""
    rows = table[(table["split"] == SPLIT) & table["attack"].isin(attacks)]
    change = (rows["attacked_score"] - rows["clean_score"]).abs()
    return rows.loc[change.groupby(rows["image"]).idxmax()].assign(attack=WORST)


def _verdict(standings: Sequence[Standing], name: str) -> str:
    leader, *others = standings
    told: dict[str, list[str]] = {"holds": [], "does not hold": [], "": []}
    for one in others:
        assert one.behind is not None
        found = better(one.behind, name)
        told[found if found in told else ""].append(one.name)
    if told["holds"]:
        return f"{leader.name} led on validation, and {_list(told['holds'])} did better on test"
    if not told[""]:
        return f"{leader.name} is best"
    shown = f"no difference shown between {_list([leader.name, *told['']])}"
    return f"{shown}; worse: {_list(told['does not hold'])}" if told["does not hold"] else shown


def _sign(name: str) -> int:
    return -1 if objective(name).direction == "minimize" else 1


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _text(found: Interval, sign: str = "") -> str:
    limits = f" [{found.low:{sign}.3f}, {found.high:{sign}.3f}]" if found.is_bounded else ""
    return f"{found.value:{sign}.3f}{limits}"
