"""What a study's own MLflow run says in words: the front as a table, where to look, what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis import pareto
from analysis.front import Front, TrialPoint
from study.mlflow_links import charts, plot, trials
from trainables.objectives import objective


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


def describe(front: Front, experiment: str, run_id: str) -> str:
    """Markdown for the run's Overview."""
    names = {
        front.knee.trial: "knee, the best compromise",
        front.most_accurate.trial: "most accurate",
        front.most_robust.trial: "most robust",
    }
    rows = [_row(point, front.objectives, names.get(point.trial, "")) for point in front.members]
    if front.baseline is not None and front.baseline not in front.members:
        rows.append(_row(front.baseline, front.objectives, "λ=0 reference, not on the front"))
    titles = [f"{split} {name}" for split in ("validation", "test") for name in front.objectives]
    header = ["trial", "λ", "h", *titles, ""]
    return "\n".join(
        [
            f"### The front: {len(front.members)} of {len(front.points)} trials",
            "",
            f"[**Open the interactive plot**]({plot(experiment, run_id)}), or choose *Artifacts* above, then `front/pareto.html`. "
            f"[The trials as a table]({trials(experiment, front.study)}), [as charts]({charts(experiment, front.study)}).",
            "",
            f"| {' | '.join(header)} |",
            f"|{'---|' * len(header)}",
            *rows,
            "",
            f"Chosen on validation images; test images are only reported. Hypervolume {front.hypervolume:.4g} "
            f"(reference point {', '.join(f'{value:g}' for value in front.reference_point)}).",
            "",
            f"Take the knee home: `nt-study export {front.study} --pick knee --out DIR`",
        ]
    )


def _row(point: TrialPoint, objectives: Sequence[str], remark: str) -> str:
    values = [f"{metrics[name]:.3f}" for metrics in (point.validation, point.test) for name in objectives]
    lam = f"{point.lam:.2g}" if point.lam else "0"
    cells = [f"`{point.trial}`", lam, f"{point.step_size:.2g}" if point.lam else "–", *values, remark]
    return f"| {' | '.join(cells)} |"
