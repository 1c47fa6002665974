"""Is a gain robustness, or were all scores squeezed together? Attacked RMSE alone rewards either.

A model whose scores are all divided by ten has a tenth of its attacked RMSE, and orders images as before, attacked or
not. `rmse_attacked_relative` divides by the spread of the clean scores, `rmse_attacked_fitted` also undoes other
monotone maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.changes import share_taken
from analysis.labels import number
from analysis.metrics import Interval, rows_of
from analysis.tables import Pair
from analysis.verdicts import SMALLEST_CUT, verdict


@dataclass(frozen=True, kw_only=True)
class Squeeze:
    """What NT did to attacked RMSE (of the default attack) and to the spread of clean scores."""

    model: str
    spread: tuple[float, float]
    """Standard deviation of clean scores without and with NT, MOS points."""
    cut: Interval
    """Share of attacked RMSE that NT takes away."""
    relative: Interval
    """The same of attacked RMSE over the spread."""
    fitted: Interval
    """The same after the fit to MOS."""

    @property
    def compression(self) -> float:
        """Which share of the gain, on a logarithmic scale, is the smaller spread's; below 0 where the spread grew."""
        if not 0 < self.cut.value < 1:
            return math.nan
        return math.log(self.spread[0] / self.spread[1]) / -math.log(1 - self.cut.value)

    @property
    def said(self) -> str:
        raw, relative = (verdict(cut, "rises", SMALLEST_CUT) for cut in (self.cut, self.relative))
        if raw != "holds":
            return "undecided whether it is a gain"
        if relative == "holds":
            share = max(0.0, self.compression)
            return f"robust; {100 * share:.0f} % of the gain is compression"
        return "undecided whether it is more than compression" if relative == "undecided" else "compression only"


def squeezes(pairs: Sequence[Pair], split: str) -> list[Squeeze]:
    """Of every pair, in order."""
    return [
        Squeeze(
            model=pair.name,
            spread=(_spread(pair.without, split), _spread(pair.nt, split)),
            cut=share_taken(pair, split, ["rmse_attacked"]).interval(),
            relative=share_taken(pair, split, ["rmse_attacked_relative"]).interval(),
            fitted=share_taken(pair, split, ["rmse_attacked_fitted"]).interval(),
        )
        for pair in pairs
    ]


def as_lines(found: Sequence[Squeeze]) -> list[str]:
    """The section of the account, as Markdown."""
    rows = [
        f"| {one.model} | {number(one.spread[0])} → {number(one.spread[1])} | {_percent(one.cut)} "
        f"| {_percent(one.relative)} | {_percent(one.fitted)} | {one.said} |"
        for one in found
    ]
    return [
        "## Robust, or only squeezed?",
        "",
        "Attacked RMSE also falls where a model gives all images more alike scores. How much of it NT takes away under "
        "the default attack: as it is, over the spread (standard deviation) of the clean scores, and over it after the "
        "usual logistic fit to MOS; with 95 % intervals.",
        "",
        "| model | spread | cut of attacked RMSE, % | over the spread, % | after the fit, % | |",
        "|---|---:|---:|---:|---:|---|",
        *rows,
        "",
    ]


def _spread(tables: Sequence[pd.DataFrame], split: str) -> float:
    return float(np.mean([rows_of(table, split)["clean_score"].std(ddof=0) for table in tables]))


def _percent(cut: Interval) -> str:
    low, high = (number(100 * bound) for bound in (cut.low, cut.high))
    return number(100 * cut.value) + (f" [{low}, {high}]" if cut.is_bounded else "")
