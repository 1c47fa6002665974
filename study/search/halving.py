"""Successive halving for several objectives: which trials are worth another epoch. Nothing here knows Ray."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.pareto import as_losses, fronts


class ParetoHalving:
    """Asynchronous successive halving whose order is Pareto rank, then spread (after Schmucker et al. 2021, MO-ASHA).

    A trial that reaches a rung (an epoch of `rungs`) goes on when it is among the best 1/`reduction_factor` of those
    that have reached it so far, or when none of them dominates it; so no trial waits for another one. Within the rank
    at the cut, those go on that lie farthest from the trials already chosen, so that the front is kept in its breadth.
    """

    def __init__(
        self, max_epochs: int, directions: Sequence[str], *, grace_period: int = 1, reduction_factor: int = 3
    ) -> None:
        self.directions = tuple(directions)
        self.reduction_factor = reduction_factor
        self.rungs: dict[int, dict[str, NDArray[np.float64]]] = {
            epoch: {} for epoch in rung_epochs(max_epochs, grace_period, reduction_factor)
        }
        """Epoch -> trial -> its losses there."""

    def record(self, trial: str, epoch: int, values: Sequence[float]) -> None:
        """Note a trial's objectives at an epoch. Only the first report counts; NaN is worse than anything."""
        if epoch in self.rungs:
            losses = np.full(len(self.directions), np.inf)
            if all(math.isfinite(value) for value in values):
                losses = as_losses([values], self.directions)[0]
            self.rungs[epoch].setdefault(trial, losses)

    def goes_on(self, trial: str, epoch: int) -> bool:
        """Whether a trial that has been recorded at this epoch is worth another one."""
        rung = self.rungs.get(epoch)
        if rung is None:
            return True
        names, losses = list(rung), np.stack(list(rung.values()))
        place = names.index(trial)
        if not np.isfinite(losses[place]).all():
            return False
        ranks = fronts(losses)
        if ranks[place] == 0:
            return True
        return place in best(losses, ranks, len(names) // self.reduction_factor)

    def standing(self, trial: str, epoch: int) -> str:
        """In words, why a trial does not go on."""
        rung = self.rungs[epoch]
        own = rung[trial]
        if not np.isfinite(own).all():
            return f"stopped after epoch {epoch}: an objective is not a number"
        better = sum(bool((other <= own).all() and (other < own).any()) for other in rung.values())
        return f"stopped after epoch {epoch}: {better} of the {len(rung)} trials that came so far dominate it"


def rung_epochs(max_epochs: int, grace_period: int, reduction_factor: int) -> list[int]:
    """Epochs at which trials are compared: `grace_period` times powers of `reduction_factor`, before the last one."""
    epochs, epoch = [], grace_period
    while epoch < max_epochs:
        epochs.append(epoch)
        epoch *= reduction_factor
    return epochs


def best(losses: NDArray[np.float64], ranks: NDArray[np.int64], count: int) -> set[int]:
    """Rows of the best `count` points: whole ranks while they fit, then the most distant of the next one."""
    chosen: list[int] = []
    for rank in range(int(ranks.max()) + 1):
        rows = np.flatnonzero(ranks == rank).tolist()
        room = count - len(chosen)
        if len(rows) > room:
            return {*chosen, *_farthest(losses, chosen, rows, room)}
        chosen += rows
    return set(chosen)


def _farthest(losses: NDArray[np.float64], chosen: list[int], rows: list[int], count: int) -> list[int]:
    """`count` of `rows`, each the one farthest from all that are chosen by then (an epsilon-net), axes scaled alike."""
    finite = losses[np.isfinite(losses).all(axis=1)]
    spread = np.ptp(finite, axis=0) if len(finite) else np.ones(losses.shape[1])
    points = losses / np.where(spread > 0, spread, 1.0)
    picked: list[int] = []
    for _ in range(count):
        near = [*chosen, *picked]
        left = [row for row in rows if row not in picked]
        if near:
            gaps = [np.linalg.norm(points[near] - points[row], axis=1).min() for row in left]
        else:
            gaps = [-points[row][0] for row in left]
        picked.append(left[int(np.argmax(gaps))])
    return picked
