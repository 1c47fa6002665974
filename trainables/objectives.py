"""What a score table says about a model: every metric's name, direction and unit, in one place.

Three comparisons of the scores: MOS with clean (`srocc`, `plcc`, `krocc`, `rmse`), clean with attacked
(`..._attacked`: what the attack changed; the clean score is the reference) and MOS with attacked
(`..._mos_attacked`: how well the attacked model still agrees with people). Attacked scores are those of the float
image, as in the paper's tables.

`rmse_attacked_worst` is over several attacks at once: each image counts with its largest change.

A metric of an attack other than the default has its label behind a slash: `rmse_attacked/uap`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from trainables import metrics
from trainables.record import results_in
from trainables.registry import look_up

DEFAULT_ATTACK = "fgsm"
"""Label of the attack that names without a suffix refer to."""

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One number about a model."""

    name: str
    direction: Direction
    """Which way is better."""
    unit: str
    """Empty for numbers without one."""
    description: str


def _table(*objectives: tuple[str, Direction, str, str]) -> dict[str, Objective]:
    return {
        name: Objective(name=name, direction=direction, unit=unit, description=description)
        for name, direction, unit, description in objectives
    }


CLEAN = _table(
    ("srocc", "maximize", "", "Spearman correlation of clean scores with MOS"),
    ("plcc", "maximize", "", "Pearson correlation of clean scores with MOS"),
    ("krocc", "maximize", "", "Kendall tau-b of clean scores with MOS"),
    ("rmse", "minimize", "MOS points", "RMSE of clean scores against MOS"),
    ("gradient_l1", "minimize", "MOS points per pixel unit", "mean L1 norm of the score's input gradient"),
)
"""Metrics of the model alone."""

ATTACKED = _table(
    ("rmse_attacked", "minimize", "MOS points", "RMSE of scores after the attack against before"),
    ("rmse_attacked_relative", "minimize", "spreads", "rmse_attacked over the clean scores' standard deviation"),
    ("rmse_attacked_fitted", "minimize", "spreads", "the same of scores mapped to MOS by a fitted logistic"),
    ("mean_abs_change", "minimize", "MOS points", "mean absolute change of the score under the attack"),
    ("srocc_attacked", "maximize", "", "Spearman correlation of scores after the attack with before"),
    ("plcc_attacked", "maximize", "", "Pearson correlation of scores after the attack with before"),
    ("krocc_attacked", "maximize", "", "Kendall tau-b of scores after the attack with before"),
    ("r_robustness", "maximize", "log10", "mean log10 of largest possible change over change (S5)"),
    ("absolute_gain", "minimize", "MOS points", "mean signed change of the score under the attack (MSU benchmark)"),
    ("relative_gain", "minimize", "", "mean signed change over one plus the score before, on 0..1 (MSU benchmark)"),
    ("robustness_score", "maximize", "log10", "R on scores of 0..1 with 1e-6 added to the change (MSU benchmark)"),
    ("ssim", "maximize", "", "mean SSIM of attacked and clean images: how little of the attack can be seen"),
    ("psnr", "maximize", "dB", "mean PSNR of attacked and clean images"),
    ("rmse_mos_attacked", "minimize", "MOS points", "RMSE of scores after the attack against MOS"),
    ("srocc_mos_attacked", "maximize", "", "Spearman correlation of scores after the attack with MOS"),
    ("plcc_mos_attacked", "maximize", "", "Pearson correlation of scores after the attack with MOS"),
    ("krocc_mos_attacked", "maximize", "", "Kendall tau-b of scores after the attack with MOS"),
)
"""Metrics of the model under one attack; these take a suffix."""

WORST = _table(
    (
        "rmse_attacked_worst",
        "minimize",
        "MOS points",
        "RMSE of scores after against before, each image under the attack of every trial that moves it furthest",
    )
)

OBJECTIVES: dict[str, Objective] = CLEAN | ATTACKED | WORST


def objective(name: str) -> Objective:
    """An objective by name, an attack's label behind a slash included. Raises ValueError for an unknown one."""
    base, _, label = name.partition("/")
    if not label:
        return look_up(OBJECTIVES, base, "objective")
    found = look_up(ATTACKED, base, "objective of an attack")
    description = f"{found.description} ({label})"
    return Objective(name=name, direction=found.direction, unit=found.unit, description=description)


def measure(
    scores: pd.DataFrame, split: str, attack: str = DEFAULT_ATTACK, *, worst_of: Collection[str] | None = None
) -> dict[str, float]:
    """All metrics of one split of a score table, by objective name; `attack` is the one that needs no suffix.

    worst_of: the attacks over which the worst is taken, all by default. Trials are comparable over the same ones only,
    and the full suite runs on some of them. Correlations of constant scores are NaN. Raises ValueError when the table
    has no rows of that split and attack.
    """
    rows = scores[scores["split"] == split]
    by_attack = {str(label): part for label, part in rows.groupby("attack", sort=False)}
    if attack not in by_attack:
        present = sorted({(str(s), str(a)) for s, a in zip(scores["split"], scores["attack"], strict=True)})
        raise ValueError(f"the score table has no rows of split {split!r} and attack {attack!r}; it has {present}")
    to_mos = metrics.fitted_to(by_attack[attack]["mos"], by_attack[attack]["clean_score"])
    found = _of_model(by_attack[attack]) | _under_attack(by_attack[attack], to_mos)
    for label, part in by_attack.items():
        if label != attack:
            found |= {f"{name}/{label}": value for name, value in _under_attack(part, to_mos).items()}
    found["rmse_attacked_worst"] = worst_case(scores, split, over=worst_of).rmse_attacked
    return found


@dataclass(frozen=True, kw_only=True)
class WorstOf:
    """The attacker who tries everything: each image under the attack that moves its score furthest."""

    rmse_attacked: float
    shares: dict[str, float]
    """Attack -> share of the images that it moves furthest; all attacks that were tried, in the table's order."""

    def __str__(self) -> str:
        parts = ", ".join(f"{label} {share:.0%}" for label, share in self.shares.items())
        return f"worst of {len(self.shares)} attacks for each image: RMSE {self.rmse_attacked:.3f} ({parts})"


def worst_case(scores: pd.DataFrame, split: str, *, over: Collection[str] | None = None) -> WorstOf:
    """The worst over a split's attacks, image by image; of equally bad ones the first.

    over: labels, by default all but the audit's checks. The direction counts as well: an attack with `direction:
    two_sided` tries both. Raises ValueError when the table has none of them.
    """
    labels = [label for label in results_in(scores) if over is None or label in over]
    rows = scores[(scores["split"] == split) & scores["attack"].isin(labels)]
    if rows.empty:
        raise ValueError(
            f"the score table has no rows of split {split!r} and any of {', '.join(over or ['no attack'])}"
        )
    change = (rows["attacked_score"] - rows["clean_score"]).abs().set_axis(pd.Index(rows["image"]))
    by_attack = pd.DataFrame({label: change[(rows["attack"] == label).to_numpy()] for label in labels})
    furthest = by_attack.max(axis=1).to_numpy()
    counts = by_attack.idxmax(axis=1).value_counts()
    return WorstOf(
        rmse_attacked=metrics.rmse(np.zeros(len(furthest)), furthest),
        shares={label: float(counts.get(label, 0) / len(by_attack)) for label in labels},
    )


def _of_model(rows: pd.DataFrame) -> dict[str, float]:
    correlations = _compare(rows["mos"], rows["clean_score"])
    return correlations | {"gradient_l1": float(rows["gradient_l1"].mean())}


def _under_attack(rows: pd.DataFrame, to_mos: Callable[[pd.Series], metrics.Scores]) -> dict[str, float]:
    clean, attacked = rows["clean_score"], rows["attacked_score"]
    found = {f"{name}_attacked": value for name, value in _compare(clean, attacked).items()}
    found |= {f"{name}_mos_attacked": value for name, value in _compare(rows["mos"], attacked).items()}
    found["rmse_attacked_relative"] = metrics.relative_rmse(clean, attacked)
    found["rmse_attacked_fitted"] = relative_rmse_fitted(to_mos, clean, attacked)
    found["r_robustness"] = metrics.r_robustness(clean, attacked)
    found["mean_abs_change"] = float(np.mean(np.abs(clean - attacked)))
    for function in (metrics.absolute_gain, metrics.relative_gain, metrics.robustness_score):
        found[function.__name__] = function(clean, attacked)
    for column in ("ssim", "psnr"):
        if column in rows and rows[column].notna().all():  # not in a probe, PSNR not in older tables
            found[column] = float(rows[column].mean())
    return found


def _compare(reference: pd.Series, compared: pd.Series) -> dict[str, float]:
    functions: list[Callable[[pd.Series, pd.Series], float]] = [
        metrics.srocc,
        metrics.plcc,
        metrics.krocc,
        metrics.rmse,
    ]
    return {function.__name__: function(reference, compared) for function in functions}


def relative_rmse_fitted(to_mos: Callable[[pd.Series], metrics.Scores], clean: pd.Series, attacked: pd.Series) -> float:
    """`rmse_attacked_fitted`, to six digits, on which all processors agree; NaN where the map is constant."""
    mapped = to_mos(clean), to_mos(attacked)
    if not (np.isfinite(mapped[0]).all() and np.isfinite(mapped[1]).all()):
        return float("nan")
    return float(f"{metrics.relative_rmse(*mapped):.6g}")
