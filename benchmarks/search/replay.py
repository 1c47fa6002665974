"""Compare samplers and schedulers on the recorded grid: python benchmarks/search/replay.py [STRATEGY …]

Every strategy searches `grid.parquet` (see `record_grid.py`) as a study would: four trials at a time, each an epoch a
step, ended early where ParetoHalving says so; a point between grid points is the nearest one on the logarithmic scale.
What counts is the hypervolume of validation SROCC and log attacked RMSE, over trials that ran to their last epoch and
the λ=0 baseline, as a share of the whole grid's; the reference point is the grid's worst value of either.
Compute is counted in epochs, as a share of what the whole grid cost.

Without names every strategy runs: minutes for those that take no time to think, and as long again for each Gaussian
process. The searches are kept in `replays.parquet`, from which `results.md` and `results.png` come; a strategy that
runs again replaces what it left there.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from analysis import pareto
from search_spaces.schema import StudyFile, load_study_file
from study.search.halving import ParetoHalving
from study.search.samplers import BASELINE_VALUES, LAST_VALUES, SAMPLERS, distributions

HERE = Path(__file__).parent
REPLAYS = HERE / "replays.parquet"
DIRECTIONS: list[Literal["maximize", "minimize"]] = ["maximize", "minimize"]
SLOTS = 4
GOALS = (0.95, 0.99)
BUDGET = 0.5
"""Share of the grid's epochs after which a search ends."""
SEEDS = 30
REDUCTION_FACTOR = 2
"""Of pareto_asha: rungs after epochs 1, 2 and 4."""


@dataclass(frozen=True)
class Grid:
    """One recorded seed: λ x h x epoch -> SROCC and attacked RMSE."""

    lams: NDArray[np.float64]
    step_sizes: NDArray[np.float64]
    values: NDArray[np.float64]
    """(λ, h, epoch, 2)"""
    baseline: NDArray[np.float64]

    @property
    def epochs(self) -> int:
        return int(self.values.shape[2])

    @property
    def cost(self) -> int:
        """Epochs of the whole grid."""
        return int(np.prod(self.values.shape[:3]))

    def trial(self, lam: float, step_size: float) -> NDArray[np.float64]:
        """(epoch, 2): the recorded trial nearest to a point."""
        row = int(np.argmin(np.abs(np.log(self.lams) - np.log(lam))))
        column = int(np.argmin(np.abs(np.log(self.step_sizes) - np.log(step_size))))
        return self.values[row, column]

    def losses(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([-values[..., 0], np.log(values[..., 1])], axis=-1)

    def hypervolume(self, finals: list[NDArray[np.float64]]) -> float:
        """Share of the grid's hypervolume that these last values and the baseline dominate."""
        everything = np.concatenate([self.values[:, :, -1].reshape(-1, 2), self.baseline[None]])
        corner = self.losses(everything).max(axis=0)
        found = self.losses(np.stack([*finals, self.baseline]))
        return pareto.hypervolume(found, corner) / pareto.hypervolume(self.losses(everything), corner)


@dataclass(frozen=True)
class Strategy:
    name: str
    sampler: Callable[[int, StudyFile], BaseSampler]
    reduction_factor: int | None = None
    """Of ParetoHalving; None: every trial runs to its end."""
    first_points: bool = False
    """Whether the search begins with the points of `search_spaces/hyperiqa.yaml`, the paper's λ and h among them."""


@dataclass
class Run:
    """Epochs spent and share of hypervolume, after every trial that ended."""

    spent: list[int] = field(default_factory=lambda: [0])
    share: list[float] = field(default_factory=lambda: [0.0])
    finished: list[tuple[float, float]] = field(default_factory=list)
    """λ and h of every trial that came to its last epoch, in this order."""
    seconds: float = 0.0

    def spent_until(self, goal: float) -> float:
        reached = [spent for spent, share in zip(self.spent, self.share, strict=True) if share >= goal]
        return reached[0] if reached else np.inf


def read_grids() -> list[Grid]:
    table = pd.read_parquet(HERE / "grid.parquet")
    if "kind" in table:  # a grid of before `record_grid.py` recorded mixtures' rivals has trained models alone
        table = table[table["kind"] == "trained"]
    grids = []
    for _, rows in table.groupby("seed"):
        trials = rows[rows["lam"] > 0].sort_values(["lam", "step_size", "epoch"])
        lams, step_sizes = np.unique(trials["lam"]), np.unique(trials["step_size"])
        values = trials[["srocc", "rmse_attacked"]].to_numpy().reshape(len(lams), len(step_sizes), -1, 2)
        baseline = rows[rows["lam"] == 0].sort_values("epoch")[["srocc", "rmse_attacked"]].to_numpy()[-1]
        grids.append(Grid(lams, step_sizes, values, baseline))
    return grids


def replay(grid: Grid, strategy: Strategy, seed: int, study_file: StudyFile) -> Run:
    """Search until `BUDGET` of the epochs are spent that the whole grid cost."""
    study = optuna.create_study(directions=DIRECTIONS, sampler=strategy.sampler(seed, study_file))
    study.set_user_attr(BASELINE_VALUES, grid.baseline.tolist())
    for point in study_file.first_points if strategy.first_points else ():
        study.enqueue_trial(dict(point))
    space: dict[str, BaseDistribution] = {**distributions(study_file.space)}
    halving = (
        ParetoHalving(grid.epochs, DIRECTIONS, reduction_factor=strategy.reduction_factor)
        if strategy.reduction_factor
        else None
    )
    run, finals, spent = Run(), [grid.baseline], 0
    run.share[0] = grid.hypervolume([])
    running: list[tuple[optuna.Trial, NDArray[np.float64], int]] = []
    started = time.process_time()
    while spent < BUDGET * grid.cost:
        while len(running) < SLOTS:
            trial = study.ask(space)
            running.append((trial, grid.trial(trial.params["lam"], trial.params["step_size"]), 0))
        still = []
        for trial, curve, epoch in running:
            epoch, spent = epoch + 1, spent + 1
            now = curve[epoch - 1]
            if epoch == grid.epochs:
                study.tell(trial, now.tolist())
                finals.append(now)
                run.finished.append((trial.params["lam"], trial.params["step_size"]))
                run.spent.append(spent)
                run.share.append(grid.hypervolume(finals))
                continue
            trial.set_user_attr(LAST_VALUES, now.tolist())
            if halving is not None:
                halving.record(str(trial.number), epoch, now.tolist())
                if not halving.goes_on(str(trial.number), epoch):
                    study.tell(trial, state=TrialState.PRUNED)
                    continue
            still.append((trial, curve, epoch))
        running = still
    run.seconds = time.process_time() - started
    return run


def ray_tune_default(seed: int, _: StudyFile) -> BaseSampler:
    """What Ray Tune's OptunaSearch uses when it is given no sampler."""
    return optuna.samplers.TPESampler(seed=seed)


def strategies() -> list[Strategy]:
    found = [Strategy("OptunaSearch (TPE)", ray_tune_default)]
    for name, sampler in SAMPLERS.items():
        found.append(Strategy(name, sampler))
        found.append(Strategy(f"{name} + pareto_asha", sampler, REDUCTION_FACTOR))
    for name in ("pareto_gp", "tpe", "qmc"):
        found.append(Strategy(f"{name}, first points", SAMPLERS[name], first_points=True))
        found.append(
            Strategy(f"{name}, first points + pareto_asha", SAMPLERS[name], REDUCTION_FACTOR, first_points=True)
        )
    return found


def search(task: tuple[int, int]) -> Run:
    """The run of a strategy (its place in `strategies`) with a seed; in a process of its own."""
    quiet()
    place, seed = task
    grids = read_grids()
    study_file = load_study_file("hyperiqa", overrides={"trials": grids[0].cost // grids[0].epochs})
    return replay(grids[seed % len(grids)], strategies()[place], seed, study_file)


def quiet() -> None:
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def main() -> None:
    names = [strategy.name for strategy in strategies()]
    wanted = sys.argv[1:] or names
    if unknown := set(wanted) - set(names):
        sys.exit(f"there is no strategy {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    cost = read_grids()[0].cost
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name in wanted:
            found = list(pool.map(search, [(names.index(name), seed) for seed in range(SEEDS)]))
            print(row(name, found, cost), flush=True)
            keep(name, found)
    runs = kept(names)
    (HERE / "results.md").write_text(table_of(runs, cost), encoding="utf-8")
    plot(runs, cost)


def keep(name: str, runs: list[Run]) -> None:
    """Put a strategy's searches into the file, in place of those it has there."""
    new = pd.concat(
        pd.DataFrame({"strategy": name, "seed": seed, "spent": run.spent, "share": run.share, "seconds": run.seconds})
        for seed, run in enumerate(runs)
    )
    old = pd.read_parquet(REPLAYS) if REPLAYS.exists() else new.iloc[:0]
    pd.concat([old[old["strategy"] != name], new]).to_parquet(REPLAYS, index=False)


def kept(names: list[str]) -> dict[str, list[Run]]:
    """The searches of the strategies that have run, in the order of `names`."""
    table = pd.read_parquet(REPLAYS)
    return {
        name: [
            Run(spent=rows["spent"].tolist(), share=rows["share"].tolist(), seconds=float(rows["seconds"].iloc[0]))
            for _, rows in table[table["strategy"] == name].groupby("seed")
        ]
        for name in names
        if (table["strategy"] == name).any()
    }


def row(name: str, runs: list[Run], cost: int) -> str:
    cells = []
    for goal in GOALS:
        shares = np.array([run.spent_until(goal) for run in runs]) / cost
        reached = int(np.isfinite(shares).sum())
        median = float(np.median(shares))
        cells.append((f"{median:.2f}" if np.isfinite(median) else "never") + f" ({reached}/{len(runs)})")
    quarter = np.median([share_at(run, 0.25 * cost) for run in runs])
    half = np.median([share_at(run, 0.5 * cost) for run in runs])
    seconds = np.mean([run.seconds for run in runs])
    return f"| {name} | {cells[0]} | {cells[1]} | {quarter:.3f} | {half:.3f} | {seconds:.1f} |"


def share_at(run: Run, epochs: float) -> float:
    return float(np.array(run.share)[np.array(run.spent) <= epochs][-1])


def table_of(runs: dict[str, list[Run]], cost: int) -> str:
    goals = " | ".join(f"epochs to {goal:.0%}" for goal in GOALS)
    lines = [
        f"Median share of the grid's {cost} epochs, over {SEEDS} seeds, until so much of its hypervolume is found",
        "(in brackets: seeds that did); hypervolume found after a quarter and half of the epochs; seconds a search.",
        "",
        f"| strategy | {goals} | at ¼ | at ½ | s |",
        "|---|---|---|---|---|---|",
        *[row(name, found, cost) for name, found in runs.items()],
    ]
    return "\n".join(lines) + "\n"


DRAWN = (
    "OptunaSearch (TPE)",
    "pareto_gp",
    "tpe",
    "random",
    "qmc",
    "qmc + pareto_asha",
    "gp",
    "nsga2",
)
"""The strategies in the plot; the table has all of them."""


def plot(runs: dict[str, list[Run]], cost: int) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    spent = np.linspace(0, BUDGET * cost, 200)
    colours = {name: f"C{number}" for number, name in enumerate(dict.fromkeys(n.split(" + ")[0] for n in runs))}
    for name, found in runs.items():
        base, _, halved = name.partition(" + ")
        if name not in DRAWN:
            continue
        median = np.median([[share_at(run, epochs) for epochs in spent] for run in found], axis=0)
        axes.plot(spent / cost, median, "--" if halved else "-", color=colours[base], label=name, linewidth=1.3)
    for goal in GOALS:
        axes.axhline(goal, color="0.7", linewidth=0.8)
    axes.set(
        xlabel="epochs spent, share of the grid's", ylabel="share of the grid's hypervolume (median)", ylim=(0.6, 1)
    )
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(HERE / "results.png", dpi=150)


if __name__ == "__main__":
    main()
