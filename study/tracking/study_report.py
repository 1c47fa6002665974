"""What a study's own MLflow run shows: the front in words, as a table and as parallel coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis import pareto
from analysis.front import Front, TrialPoint, counted
from study.tracking.links import charts, plot, trials
from study.tracking.trial_report import png
from trainables.objectives import objective
from trainables.trust import as_cell


def hypervolumes(metrics: Sequence[Mapping[str, float]], objectives: Sequence[str]) -> list[float]:
    """Hypervolume of the front after each trial, given the trials' validation metrics in the order they ended.

    The reference point is `analysis.pareto.reference_point`. Raises ValueError for objectives that are NaN.
    """
    directions = [objective(name).direction for name in objectives]
    corner = pareto.as_losses([pareto.reference_point(objectives)], directions)[0]
    rows = [[trial[name] for name in objectives] for trial in metrics]
    if not rows:
        return []
    losses = pareto.as_losses(rows, directions)
    return [pareto.hypervolume(losses[: count + 1], corner) for count in range(len(rows))]


def describe(front: Front, experiment: str, run_id: str, export: str) -> str:
    """Markdown for the run's Overview. export: the command that exports the knee."""
    rows = [_row(point, front.objectives, ", ".join(front.roles(point))) for point in front.shown]
    titles = [f"{split} {name}" for split in ("validation", "test") for name in front.objectives]
    header = ["trial", "λ", "h", *titles, ""]
    return "\n".join(
        [
            f"{_finding(front)} [**Open the interactive plot**]({plot(experiment, run_id)}), "
            f"[the trials as a table]({trials(experiment, front.study)}) or "
            f"[as charts]({charts(experiment, front.study)}).",
            "",
            *_price(front),
            f"### The front: {counted(front.members)} of {counted(front.points)}",
            "",
            f"| {' | '.join(header)} |",
            f"|{'---|' * len(header)}",
            *rows,
            "",
            f"Chosen on validation images, {front.volume}; test images are only reported.",
            "",
            *([] if front.doubt else [f"Export the knee: `{export}`"]),
        ]
    )


def _finding(front: Front) -> str:
    """What the study found, in a sentence: MLflow folds all but the first lines, and the links follow in the same."""
    if front.doubt:
        return f"**{front.doubt[0].upper()}{front.doubt[1:]}.**"
    return f"**The knee is `{front.knee.trial}`** ({front.knee.setting})."


def _price(front: Front) -> list[str]:
    """What the knee costs and brings, as a paragraph; nothing where the baseline is missing or is the knee."""
    knee, before = front.knee, front.baseline
    if front.doubt or before is None or before == knee:
        return []
    changes = [f"{name} {before.test[name]:.3g} → {knee.test[name]:.3g}" for name in front.objectives]
    return [f"From λ = 0 to the knee, on test: {', '.join(changes)}.", ""]


def write_front_report(front: Front, report: Path) -> None:
    """Fill the folder `report` with what MLflow's artifact viewer shows well: a table and parallel coordinates."""
    from analysis.figures.printed import to_matplotlib
    from analysis.figures.trials import parallel_panel

    front_table(front).map(as_cell).to_csv(report / "front.csv", index=False)
    (report / "parallel.png").write_bytes(png(to_matplotlib([parallel_panel(front)], width=5.0, height=3.6)))


def front_table(front: Front) -> pd.DataFrame:
    """A row per finished trial: the front's members from the most accurate to the most robust, then the others."""
    return pd.DataFrame(
        {
            "trial": point.trial,
            "kind": "mixture" if point.is_mixture else "trial",
            "on_front": point in front.members,
            "lam": point.lam,
            "step_size": point.step_size,
            **{f"{split}/{name}": metrics[name] for split, metrics in _splits(point) for name in front.objectives},
            "run_id": point.run_id,
        }
        for point in front.points
    )


def _splits(point: TrialPoint) -> list[tuple[str, Mapping[str, float]]]:
    return [("validation", point.validation), ("test", point.test)]


def _row(point: TrialPoint, objectives: Sequence[str], remark: str) -> str:
    values = [f"{metrics[name]:.3f}" for _, metrics in _splits(point) for name in objectives]
    cells = [f"`{point.trial}`", *point.lam_and_h, *values, remark]
    return f"| {' | '.join(cells)} |"
