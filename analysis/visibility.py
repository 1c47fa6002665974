"""How visible the attacks are: SSIM of the attacked images, and the share of them that stays above the paper's 0.9."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.metrics import rows_of
from analysis.tables import Cell, Entry, Pair, Table
from trainables.record import CONTROL

GOAL = 0.9
"""The supplement's premise: most attacked images keep an SSIM above this."""


def visibility_table(pairs: Sequence[Pair], split: str) -> Table | None:
    """Whether the premise of Table S3's settings holds, per model and attack; None where SSIM was not measured."""
    rows = []
    for pair in pairs:
        for attack in pair.attacks:
            ssim = [_ssim(pair.tables(nt, attack), split, attack) for nt in (False, True)]
            if not attack.endswith(CONTROL) and not any(np.isnan(values).any() for values in ssim):
                shares = tuple(Entry(value=float((values > GOAL).mean())) for values in ssim)
                means = tuple(Entry(value=float(values.mean())) for values in ssim)
                rows.append((f"{pair.name}, {attack}", (Cell(entries=shares), Cell(entries=means))))
    if not rows:
        return None
    return Table(
        key="S3",
        caption=f"Visibility of the attacks, {split} images",
        head=("model, attack", f"share of images with SSIM above {GOAL:g}", "mean SSIM"),
        rows=tuple(rows),
        notes=(
            f"Cells: without NT / with NT. The paper's premise is that most attacked images keep an SSIM above "
            f"{GOAL:g}. Black-box images do not depend on the model.",
        ),
    )


def _ssim(tables: Sequence[pd.DataFrame], split: str, attack: str) -> NDArray[np.float64]:
    return np.concatenate([rows_of(table, split, attack)["ssim"].to_numpy(np.float64) for table in tables])
