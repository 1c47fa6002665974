"""What the paper prints, as data, to stand beside what a study measured.

Source: Y. Liu et al., "Defense Against Adversarial Attacks on No-Reference Image Quality Models with Gradient Norm
Regularization", CVPR 2024, and its supplement (tables with an S). All on LIVEC at the published sizes. Only cells that
could be checked are here; a missing cell means "not known here", not "not printed".
"""

from __future__ import annotations

from importlib.resources import files

import pandas as pd

WHITE_BOX = ("fgsm", "perceptual")
BLACK_BOX = ("uap", "kor")
ATTACKS = WHITE_BOX + BLACK_BOX
"""The paper's four attacks, in the order of its tables, by the labels that score tables give them."""


def paper_values() -> pd.DataFrame:
    """Printed values: table, baseline, nt (0 or 1), attack ("" for clean), metric (our name), value, note."""
    with files("analysis").joinpath("paper_values.csv").open("rb") as file:
        return pd.read_csv(file, dtype={"table": str, "nt": int}, keep_default_na=False, na_values=())


def printed(baseline: str, nt: bool, metric: str, attack: str = "") -> float | None:
    """The paper's value of a metric (without suffix), or None where it is not known."""
    values = paper_values()
    found = values[
        (values["baseline"] == baseline)
        & (values["nt"] == int(nt))
        & (values["metric"] == metric)
        & (values["attack"] == attack)
    ]
    return float(found["value"].iloc[0]) if len(found) else None
