"""Which figures a report holds, and the result of a study that they are drawn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.attack_series import Attacks, series_over
from analysis.figures.images import Example, Graded
from analysis.figures.panel import Panel
from analysis.figures.pareto import front_panels
from analysis.figures.scores import (
    before_after_panel,
    change_panel,
    finite_difference_panel,
    gradient_norm_panel,
    gradient_robustness_panels,
    intensity_panels,
    theory_panel,
)
from analysis.figures.trials import parallel_panel, sweep_panels
from analysis.front import Front, TrialPoint
from trainables.names import as_file_name
from trainables.objectives import DEFAULT_ATTACK, measure
from trainables.record import results_in

SWEPT = ("srocc", "rmse_attacked", "rmse", "srocc_attacked")
"""Figures 7 and S5: what is drawn over λ and h beside the objectives."""
SPLIT = "test"
"""Choices were made on validation; what is reported is test."""


@dataclass(frozen=True, kw_only=True)
class FiniteDifferences:
    """The gradient's L1 norm of some images, exact and as the regulariser estimates it, in normalised units."""

    exact: NDArray[np.float64]
    """(N,)"""
    estimates: Mapping[float, NDArray[np.float64]]
    """h -> (N,)"""


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What a report needs of one study."""

    front: Front
    baseline: str
    """The model's name in the registry."""
    data: str
    """Fingerprint of the images and split."""
    scores: Mapping[str, pd.DataFrame]
    """Score tables by trial; the λ=0 baseline's and the reported trial's at least."""
    about: str = ""
    """One sentence: what was trained on what."""
    retrained: Mapping[str, Sequence[pd.DataFrame]] = field(default_factory=dict)
    """Score tables by trial of the same trials trained with other seeds; they join the study's own in every spread."""
    attacks: Attacks = field(default_factory=dict)
    """The study's attacks by label; those that differ in one parameter make Figure 6 and Table S2."""
    worst_of: Collection[str] | None = None
    """Labels of the attacks over which `rmse_attacked_worst` is taken: those of every trial; None for all there are."""
    doubts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The audit's verdicts (`trainables.audit`) by trial, for those that it could judge: no sentence means that nothing
    is suspicious."""
    reproduce: Sequence[str] = ()
    """Commands that make the study again."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Versions, code, hardware, seed."""
    eps: float | None = None
    """Of the default attack, for the check of Theorem 1; None leaves it out."""
    examples: Sequence[Example] = ()
    """Adversarial examples of the reported trial, to be shown with their scores."""
    graded: Graded | None = None
    """The same under attacks of rising intensity, beside λ = 0."""
    finite_differences: Mapping[str, FiniteDifferences] = field(default_factory=dict)
    """By trial, for the check of Section 5.3; needs weights, as the examples do."""
    planned_trials: int | None = None
    """How many trials the study asked for, to tell a partial report."""

    def __post_init__(self) -> None:
        missing = [point.trial for point in self.compared if point.trial not in self.scores]
        if missing:
            raise ValueError(
                f"study {self.front.study!r} reports trial {missing[0]}, whose score table was not given; read it, too"
            )

    def tables(self, trial: str) -> list[pd.DataFrame]:
        """A trial's score tables, one per seed, the study's own first."""
        return [self.scores[trial], *self.retrained.get(trial, ())]

    @cached_property
    def runs(self) -> list[TrialPoint]:
        """Every trial once per seed: the study's own, then the retrained ones with the objectives of their tables."""

        def objectives(table: pd.DataFrame, split: str) -> dict[str, float]:
            found = measure(table, split, worst_of=self.worst_of)
            return {name: found[name] for name in dict.fromkeys((*self.front.objectives, *SWEPT)) if name in found}

        again = [
            dataclasses.replace(point, validation=objectives(table, "validation"), test=objectives(table, "test"))
            for point in self.front.points
            for table in self.retrained.get(point.trial, ())
        ]
        return [*self.front.points, *again]

    @property
    def compared(self) -> list[TrialPoint]:
        """The λ=0 baseline and the reported trial, as far as they have finished."""
        return [point for point in (self.front.baseline, self.front.reported) if point is not None]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of a report: its file's name, what it shows, its panels."""

    name: str
    caption: str
    panels: Sequence[Panel]


def study_figures(result: StudyResult) -> list[Figure]:
    """The figures that a study's records allow, in the order of the report."""
    front, study = result.front, result.front.study
    tables = {point.label: result.scores[point.trial] for point in result.compared}
    figures = [
        Figure(name=f"{study}_front", caption=f"Front of {study} on validation images.", panels=front_panels([front])),
        Figure(
            name=f"{study}_parallel",
            caption=f"Parallel coordinates of {study}: hyperparameters and objectives of every trial (validation).",
            panels=[parallel_panel(front)],
        ),
    ]
    figures += _sweep_figures(result)
    if tables:
        figures += _score_figures(result, tables)
    if measured := [point for point in result.compared if point.trial in result.finite_differences]:
        found = [(result.finite_differences[point.trial], point.label) for point in measured]
        figures.append(
            Figure(
                name=f"{study}_finite_difference",
                caption="How well a finite difference of step h estimates the gradient's L1 norm (Section 5.3).",
                panels=[finite_difference_panel(one.exact, one.estimates, title) for one, title in found],
            )
        )
    return figures


def shared_figures(results: Sequence[StudyResult]) -> list[Figure]:
    """What several studies show together: their fronts in one pair of axes, and Figure 5."""
    fronts = Figure(
        name="fronts",
        caption="The fronts over each other (validation).",
        panels=front_panels([result.front for result in results]),
    )
    figures = [fronts] if len(results) > 1 else []
    attack = "uap" if any(_attacked_with(result, "uap") for result in results) else DEFAULT_ATTACK
    models = {result.front.study: found for result in results if (found := _measured_under(result, attack))}
    if models:
        names = [
            name if attack == DEFAULT_ATTACK else f"{name}/{attack}" for name in ("rmse_attacked", "srocc_attacked")
        ]
        caption = f"Robustness under {attack} over the gradient's norm, a trained model a point: all trials and seeds "
        caption += "that were attacked so (Figure 5)."
        panels = gradient_robustness_panels(models, names)
        figures.append(Figure(name="gradient_robustness", caption=caption, panels=panels))
    return figures


def _measured_under(result: StudyResult, attack: str) -> list[dict[str, float]]:
    """Test metrics of every trained model of a study, seeds apart, that was attacked so."""
    return [measure(table, SPLIT) for table in _attacked_with(result, attack)]


def _attacked_with(result: StudyResult, attack: str) -> list[pd.DataFrame]:
    trained = [point.trial for point in result.front.points if not point.is_mixture and point.trial in result.scores]
    tables = [table for trial in trained for table in result.tables(trial)]
    return [table for table in tables if attack in set(table["attack"].unique())]


def _sweep_figures(result: StudyResult) -> list[Figure]:
    """Objectives over λ and over h, as far as either has more than one value."""
    swept = [point for point in result.front.points if point.is_nt_trial]
    captions = {
        "lam": "Objectives over λ (Figures 7, S5); h varies as well where the search chose it.",
        "step_size": "Objectives over the step size h (Table 4); λ varies as well where the search chose it.",
    }
    return [
        Figure(
            name=f"{result.front.study}_{parameter}",
            caption=caption,
            panels=sweep_panels(result.runs, parameter, _swept(result)),
        )
        for parameter, caption in captions.items()
        if len({getattr(point, parameter) for point in swept}) > 1
    ]


def _swept(result: StudyResult) -> list[str]:
    """The two objectives, then the rest of Figures 7 and S5, as far as every run has it."""
    names = dict.fromkeys((*result.front.objectives[:2], *SWEPT))
    return [name for name in names if all(name in point.test for point in result.runs)]


def _score_figures(result: StudyResult, tables: Mapping[str, pd.DataFrame]) -> list[Figure]:
    study = result.front.study
    attacks = sorted(set.intersection(*(set(results_in(table)) for table in tables.values())))
    series = [labels for parameter in ("steps", "eps", "loss") for labels in series_over(result.attacks, parameter)]
    graded = {label for labels in series for label in labels}  # these have figures and tables of their own
    single = [attack for attack in attacks if attack not in graded]
    seed = " The study's own training seed." if result.retrained else ""
    figures = [
        Figure(
            name=f"{study}_before_after",
            caption=f"Scores before and after each attack.{seed}",
            panels=[before_after_panel(tables, SPLIT, attack) for attack in single],
        ),
        Figure(
            name=f"{study}_change",
            caption=f"How far each image's score is moved, and the distribution (Figures 1, S1 to S4).{seed}",
            panels=[change_panel(tables, SPLIT, attack) for attack in single],
        ),
        Figure(
            name=f"{study}_gradient_norm",
            caption=f"Distribution of the gradient's L1 norm (Figure 4).{seed}",
            panels=[gradient_norm_panel(tables, SPLIT)],
        ),
    ]
    for parameter in ("steps", "eps"):
        for labels in series_over(result.attacks, parameter):
            if len(labels) > 2 and set(labels) <= set(attacks):
                figures.append(
                    Figure(
                        name=f"{study}_intensity_{parameter}_{as_file_name(labels[0])}",
                        caption=f"Damage against visibility as {labels[0]} to {labels[-1]} grow stronger (Figure 6)."
                        f"{seed}",
                        panels=intensity_panels(tables, SPLIT, labels),
                    )
                )
    if result.eps is not None and DEFAULT_ATTACK in attacks:
        caption = f"Theorem 1: measured change of each score against eps · L1 norm of its gradient.{seed}"
        figures.append(
            Figure(name=f"{study}_theory", caption=caption, panels=[theory_panel(tables, SPLIT, result.eps)]),
        )
    return figures
