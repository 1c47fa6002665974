"""What a study found: its front, the members worth naming, and the numbers a reader needs beside them.

Trials are chosen by their validation metrics alone; the test metrics ride along for the report.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis import pareto
from analysis.labels import defence_text, lam_text, number, title
from analysis.metrics import interval, rows_of
from trainables.config import Mixture
from trainables.objectives import objective

Split = Literal["validation", "test"]
SPLITS: tuple[Split, ...] = ("validation", "test")


@dataclass(frozen=True, kw_only=True)
class TrialPoint:
    """A finished trial, or a mixture of two, as far as a front is concerned."""

    trial: str
    lam: float
    """λ of the defence (NT: released form); 0 for the baseline; of a mixture its parents', weighted."""
    step_size: float
    """h in ImageNet-normalised units; means nothing when λ is 0, NaN for a defence without one; of a mixture its
    parents', weighted."""
    validation: Mapping[str, float]
    test: Mapping[str, float]
    epochs: int = 0
    """Epochs trained; 0 when not told."""
    defence: str = "nt"
    """What it was trained with, where λ is not 0: a name of `trainables.defences`."""
    passes: int = 0
    """Passes of the network over the training views that its own training took; 0 when not told."""
    training: Mapping[str, float] = field(default_factory=dict)
    """What else was searched: a defence's budget `eps` in [0, 1] pixels, training hyperparameters."""
    run_id: str = ""
    """Its MLflow run, for the reader to copy."""
    is_baseline: bool = False
    is_paper_setting: bool = False
    """Whether λ and h are the paper's for this baseline."""
    spread: Mapping[str, float] = field(default_factory=dict)
    """Standard deviation over seeds of validation metrics, once confirmed."""
    within_noise: bool = False
    """Dominated, but by less than the spread over seeds that a confirmation found."""
    parents: tuple[str, ...] = ()
    """Of a mixture: the two trials whose weights it lies between."""
    weight: float | None = None
    """Of a mixture: the second parent's share."""

    @property
    def is_mixture(self) -> bool:
        """Whether it was mixed of two trained trials and not trained itself."""
        return bool(self.parents)

    @property
    def is_nt_trial(self) -> bool:
        """Whether it was trained with NT's penalty: neither a λ=0 trial, nor another defence, nor a mixture."""
        return self.defence == "nt" and self.lam > 0 and not self.is_mixture

    @property
    def setting(self) -> str:
        """What it was made with, in words: λ and h, or what it was mixed of."""
        if (mixture := Mixture.named(self.trial)) is not None:
            return mixture.describe()
        if self.defence == "nt" or self.is_baseline:
            return f"λ {lam_text(self.lam)}" + (f", h {self.step_size:.2g}" if self.lam else "")
        values = ({"λ": self.lam} if self.lam else {}) | {**self.training}
        words = ", ".join(f"{name.replace('_', ' ')} {value:.2g}" for name, value in values.items())
        return ", ".join(filter(None, (defence_text(self.defence), words)))

    @property
    def label(self) -> str:
        """What it is called in a legend: by its λ, a mixture by its name, another defence than NT with its setting."""
        if self.is_mixture:
            return self.trial
        return f"λ = {lam_text(self.lam)}" if self.defence == "nt" or self.is_baseline else self.setting

    @property
    def lam_and_h(self) -> tuple[str, str]:
        """Two cells of a table."""
        if self.is_mixture:
            return "mix", "–"
        has_h = self.lam > 0 and not math.isnan(self.step_size)
        return lam_text(self.lam), f"{self.step_size:.2g}" if has_h else "–"

    def metrics(self, split: Split) -> Mapping[str, float]:
        return self.validation if split == "validation" else self.test


@dataclass(frozen=True, kw_only=True)
class Front:
    """A study's finished trials, sorted into the non-dominated ones and the rest. Make it with `find_front`."""

    study: str
    objectives: tuple[str, ...]
    """Two or three names of `trainables.objectives`: first the accuracy, second the robustness."""
    members: tuple[TrialPoint, ...]
    """The non-dominated trials, from the most accurate to the most robust."""
    dominated: tuple[TrialPoint, ...]
    reference_point: tuple[float, ...]
    """Where the hypervolume ends, one value per objective in its own unit."""
    hypervolume: float
    knee: TrialPoint
    """The best compromise: see `analysis.pareto.knee`."""
    doubt: str = ""
    """Why none of these trials is to be called a success (`doubt_of`); empty where nothing speaks against it."""

    @property
    def volume(self) -> str:
        """The hypervolume in words, with its reference point, without which it has no meaning."""
        corner = zip(self.objectives, self.reference_point, strict=True)
        return (
            f"hypervolume {number(self.hypervolume, 4)} "
            f"(reference point: {', '.join(f'{title(name)} {value:g}' for name, value in corner)})"
        )

    @property
    def points(self) -> tuple[TrialPoint, ...]:
        """Every finished trial and mixture, the front's members first."""
        return self.members + self.dominated

    @property
    def shown_metrics(self) -> tuple[str, ...]:
        """The columns of a table of the front: the objectives, and attacked RMSE over the spread as well."""
        beside = ("rmse_attacked_relative",) if "rmse_attacked" in self.objectives else ()
        return (*self.objectives, *(name for name in beside if name not in self.objectives))

    @property
    def defence(self) -> str:
        """What its trials were trained with: a name of `trainables.defences`."""
        return next((point.defence for point in self.points if not point.is_baseline), "nt")

    @property
    def name(self) -> str:
        """The study's, and its defence's where that is not NT or the study's name."""
        return self.study if self.defence in ("nt", self.study) else f"{self.study} ({defence_text(self.defence)})"

    @property
    def directions(self) -> tuple[str, ...]:
        return tuple(objective(name).direction for name in self.objectives)

    @property
    def baseline(self) -> TrialPoint | None:
        """The λ=0 trial, on the front or not; None while it has not finished."""
        return next((point for point in self.points if point.is_baseline), None)

    @property
    def most_accurate(self) -> TrialPoint:
        """The member with the best first objective; ties go to the better second one."""
        return self.members[0]

    @property
    def most_robust(self) -> TrialPoint:
        """The member with the best second objective; ties go to the better first one."""
        losses = losses_of(self.members, self.objectives)
        return self.members[np.lexsort((losses[:, 0], losses[:, 1]))[0]]

    @property
    def reported(self) -> TrialPoint | None:
        """The trial or mixture to report: the knee, or the most robust member where the knee is the baseline."""
        return next((point for point in (self.knee, self.most_robust) if point.lam > 0), None)

    @property
    def shown(self) -> tuple[TrialPoint, ...]:
        """The rows of a table of the front: its members, then the baseline where it is not one of them."""
        baseline = self.baseline
        return self.members if baseline is None or baseline in self.members else (*self.members, baseline)

    def roles(self, point: TrialPoint) -> list[str]:
        """What makes a trial worth naming, in words. Nothing is best among trials that are in doubt."""
        roles = {
            "knee": point is self.knee and not self.doubt,
            "most accurate": point is self.most_accurate and not self.doubt,
            "most robust": point is self.most_robust and not self.doubt,
            "λ = 0": point.is_baseline,
            "mixture": point.is_mixture,
            "the paper's λ and h": point.is_paper_setting,
            "dominated": point not in self.members and not point.within_noise,
            "dominated within noise": point not in self.members and point.within_noise,
            "confirmed": bool(point.spread),
        }
        return [role for role, holds in roles.items() if holds]

    def to_dict(self) -> dict[str, Any]:
        """The front as `nt-study front --json` prints it; values that are not finite numbers become None."""
        return {
            "study": self.study,
            "objectives": list(self.objectives),
            "directions": list(self.directions),
            "front": [_to_dict(point) for point in self.members],
            "baseline": _to_dict(self.baseline) if self.baseline else None,
            "doubt": self.doubt or None,
            "knee": None if self.doubt else self.knee.trial,
            "most_accurate": None if self.doubt else self.most_accurate.trial,
            "most_robust": None if self.doubt else self.most_robust.trial,
            "hypervolume": self.hypervolume,
            "reference_point": list(self.reference_point),
        }


def find_front(
    study: str,
    trials: Iterable[Mapping[str, Any]],
    objectives: Sequence[str] = ("srocc", "rmse_attacked"),
    reference_point: Sequence[float] | None = None,
    doubt: str = "",
) -> Front:
    """The front of a study's complete trials on the validation split.

    trials: one mapping per trial with `state` and the fields of `TrialPoint`. Only `"complete"` ones with finite
    validation objectives take part. reference_point: in the objectives' own units; by default
    `analysis.pareto.reference_point`. doubt: as `doubt_of` gives it. Raises ValueError when no trial can take part, and
    when a complete one was never measured on an objective.
    """
    complete = [_point(trial) for trial in trials if trial["state"] == "complete"]
    points = [point for point in complete if _is_measured(point, objectives)]
    if not points:
        wanted = " and ".join(objectives)
        raise ValueError(
            f"study {study!r} has no front yet: none of its trials is complete with finite {wanted} on validation; "
            "wait for one to finish, or look at why they failed"
        )
    losses = losses_of(points, objectives)
    corner = tuple(pareto.reference_point(objectives) if reference_point is None else reference_point)
    on_front = pareto.non_dominated(losses)
    order = np.lexsort(losses.T[::-1])
    return Front(
        study=study,
        objectives=tuple(objectives),
        members=tuple(points[row] for row in order if on_front[row]),
        dominated=tuple(points[row] for row in order if not on_front[row]),
        reference_point=corner,
        hypervolume=pareto.hypervolume(losses, pareto.as_losses([corner], directions_of(objectives))[0]),
        knee=points[pareto.knee(losses)],
        doubt=doubt,
    )


def doubt_of(baseline: pd.DataFrame) -> str:
    """A sentence where a study's λ=0 baseline has not been shown to order images better than chance; else nothing.

    baseline: its score table. Decided by the 95 % interval over photographs of its validation SROCC: it has to lie
    above 0. What NT gains beside a model that has learned nothing is no gain.
    """
    found = interval(baseline, "validation", "srocc")
    if found.low > 0:
        return ""
    limits = f" [{found.low:.2f}, {found.high:.2f}]" if math.isfinite(found.low) else ""
    count = rows_of(baseline, "validation")["content"].nunique()
    return (
        f"not better than chance: the λ=0 baseline's validation SROCC is {found.value:.2f}{limits} (95 % interval over "
        f"{count} photographs); it takes more images, more epochs, or weights to start from"
    )


def _point(trial: Mapping[str, Any]) -> TrialPoint:
    return TrialPoint(**{item.name: trial[item.name] for item in fields(TrialPoint) if item.name in trial})


def _is_measured(point: TrialPoint, objectives: Sequence[str]) -> bool:
    missing = [name for name in objectives if name not in point.validation]
    if missing:
        raise ValueError(
            f"trial {point.trial} was not measured on {missing[0]!r}: its record has {', '.join(point.validation)}; "
            "choose among these or evaluate it with that attack"
        )
    return all(math.isfinite(point.validation[name]) for name in objectives)


def losses_of(points: Sequence[TrialPoint], objectives: Sequence[str]) -> pareto.Losses:
    """The validation objectives as losses, a row per point."""
    values = [[point.validation[name] for name in objectives] for point in points]
    return pareto.as_losses(values, directions_of(objectives))


def directions_of(objectives: Sequence[str]) -> list[str]:
    """Whether each objective is to be minimized or maximized."""
    return [objective(name).direction for name in objectives]


def _to_dict(point: TrialPoint) -> dict[str, Any]:
    made = {"parents": list(point.parents), "weight": point.weight} if point.is_mixture else {}
    return {
        "trial": point.trial,
        "kind": "mixture" if point.is_mixture else "trial",
        **made,
        "lam": finite(point.lam),
        "step_size": finite(point.step_size),
        "validation": finite_or_none(point.validation),
        "test": finite_or_none(point.test),
    }


def finite_or_none(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON can hold them."""
    return {name: finite(value) for name, value in metrics.items()}


def finite(value: float) -> float | None:
    """A number as JSON can hold it."""
    return float(value) if math.isfinite(value) else None


def counted(points: Sequence[TrialPoint]) -> str:
    """How many models these are, such as "3 trials and 5 mixtures"."""
    mixed = sum(point.is_mixture for point in points)
    trials = f"{len(points) - mixed} trial{'s' * (len(points) - mixed != 1)}"
    return f"{trials} and {mixed} mixture{'s' * (mixed != 1)}" if mixed else trials
