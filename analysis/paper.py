"""What the paper prints, as data, to stand beside what a study measured.

Source: Y. Liu et al., "Defense Against Adversarial Attacks on No-Reference Image Quality Models with Gradient Norm
Regularization", CVPR 2024, and its supplement (tables with an S). All on LIVEC at the published sizes. Its tables are
here whole: 1, 2, 3, 4, S2, S4, S5, S6 in `paper_values.csv`, S7 in `paper_averages.csv`; notes say where they disagree.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import pandas as pd

WHITE_BOX = ("fgsm", "perceptual")
BLACK_BOX = ("uap", "kor")
ATTACKS = WHITE_BOX + BLACK_BOX
"""The paper's four attacks, in the order of its tables, by the labels that score tables give them."""


@cache
def paper_values() -> pd.DataFrame:
    """Printed values: table, baseline, nt (0 or 1), attack ("" for clean), step_size (h, as text; "" where the paper's
    own 0.01 is meant), metric (our name), value, note."""
    with files("analysis").joinpath("paper_values.csv").open("rb") as file:
        return pd.read_csv(file, dtype={"table": str, "nt": int, "step_size": str}, keep_default_na=False, na_values=())


@cache
def paper_averages() -> pd.DataFrame:
    """Table S7: baseline, kind ("white box", "black box", "overall"), and the change of two metrics through NT."""
    with files("analysis").joinpath("paper_averages.csv").open("rb") as file:
        return pd.read_csv(file)


def printed(baseline: str, nt: bool, metric: str, attack: str = "", *, step_size: float | None = None) -> float | None:
    """The paper's value of a metric (without suffix), or None where it prints none.

    step_size: a row of Table 4; None for the other tables.
    """
    return _by_place().get((baseline, int(nt), metric, attack, "" if step_size is None else f"{step_size:g}"))


@cache
def _by_place() -> dict[tuple[str, int, str, str, str], float]:
    """`paper_values` for lookups, of which a report makes a thousand; where two tables print a value, the first's."""
    values = paper_values().drop_duplicates(place := ["baseline", "nt", "metric", "attack", "step_size"])
    return {tuple(row): float(value) for row, value in zip(values[place].to_numpy(), values["value"], strict=True)}


def printed_average(baseline: str, kind: str, metric: str) -> float | None:
    """The paper's cell of Table S7, or None for a model that is not in it."""
    values = paper_averages()
    found = values[(values["baseline"] == baseline) & (values["kind"] == kind)]
    return float(found[metric].iloc[0]) if len(found) else None
