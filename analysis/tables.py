"""The paper's tables from score tables: "baseline / baseline + NT" cells, the better one marked, intervals beside.

A table is data (`Table`, `Cell`, `Entry`) and is written as Markdown, LaTeX, CSV or HTML by `analysis.tables_as`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.attack_series import Attacks
from analysis.comparable import require_same_data
from analysis.identity import evidence_of, once
from analysis.labels import number, title
from analysis.metrics import interval, value
from analysis.paper import ATTACKS, BLACK_BOX, WHITE_BOX, printed
from trainables.metrics import unchanged
from trainables.objectives import DEFAULT_ATTACK, objective
from trainables.record import CONTROL

CLEAN_METRICS = ("rmse", "srocc", "plcc", "krocc")
ATTACK_TABLES = {"2": "rmse", "3": "srocc", "S4": "krocc", "S5": "plcc", "S6": "r_robustness"}
"""The paper's tables of attacks, and the metric each is about."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One row of the paper's tables: a model without and with NT, a score table per training seed, in one order."""

    baseline: str
    """Its name in the registry (`hyperiqa`), which is also how the paper's values are found."""
    without: Sequence[pd.DataFrame]
    nt: Sequence[pd.DataFrame]
    data: str
    """Fingerprint of the images and split; rows of different ones are not comparable."""
    study: str = ""
    """Names the row where several studies are of one baseline."""
    suite: Attacks = field(default_factory=dict)
    """What the score tables' labels of attacks stand for."""
    is_paper_setting: bool = False
    """Whether λ and h are the paper's: only then the paper's values of NT stand beside."""
    is_reported: bool = True
    """Whether NT's trial is the one that its study reports, and not there for its λ and h alone."""

    @property
    def name(self) -> str:
        return self.study or self.baseline

    def __post_init__(self) -> None:
        if not self.without or not self.nt:
            missing = "without NT" if not self.without else "with NT"
            raise ValueError(f"{self.baseline}: no finished trial {missing} to put into the tables; wait for one")

    @property
    def attacks(self) -> tuple[str, ...]:
        """The attacks that every score table holds, the paper's first, then the others by name."""
        held = set.intersection(*(set(table["attack"]) for table in (*self.without, *self.nt)))
        return (*(attack for attack in ATTACKS if attack in held), *sorted(held - set(ATTACKS)))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One number of a cell; NaN bounds mean that no interval can be given."""

    value: float
    low: float = math.nan
    high: float = math.nan
    printed: float | None = None
    """The paper's value, where it is known."""
    is_better: bool = False


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Without and with NT, or a single number, or nothing where the study did not measure it."""

    entries: tuple[Entry, ...] = ()
    metric: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    key: str
    """The number of the paper's table that it follows: "1", "S7"; repeated ones as "S2-2"."""
    caption: str
    head: tuple[str, ...]
    """Of all columns, the rows' labels first."""
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[str, ...] = field(default=())


def paper_tables(pairs: Sequence[Pair], split: str = "test") -> list[Table]:
    """Tables 1, 2, 3, S4, S5, S6 and S7 of the given baselines.

    Raises ValueError when there is no pair or when the pairs were not measured on the same images.
    """
    if not pairs:
        raise ValueError("tables need at least one baseline with a finished trial without and one with NT")
    require_same_data([(pair.name, pair.data) for pair in pairs])
    return [
        clean_table(pairs, split),
        *(attack_table(pairs, key, split) for key in ATTACK_TABLES),
        average_table(pairs, split),
    ]


def clean_table(pairs: Sequence[Pair], split: str) -> Table:
    """Table 1: agreement of clean scores with MOS."""
    return Table(
        key="1",
        caption=f"Clean performance, scores against MOS, {split} images",
        head=("model, metric", "clean score against MOS"),
        rows=tuple(
            (f"{pair.name}, {name.upper()}", (_cell(pair, name, split),)) for pair in pairs for name in CLEAN_METRICS
        ),
        notes=_notes(pairs),
    )


def attack_table(pairs: Sequence[Pair], key: str, split: str) -> Table:
    """Table 2 (RMSE), 3 (SROCC), S4 (KROCC), S5 (PLCC) or S6 (R): a row for every model and attack of some study.

    Two columns: scores after against before, and after against MOS; R has the first only.
    """
    metric = ATTACK_TABLES[key]
    still = _unchanged(pairs, split) if key == "S6" else 0
    found = [attack for pair in pairs for attack in pair.attacks]
    attacks = [attack for attack in dict.fromkeys((*ATTACKS, *found)) if attack in found]
    roles = ("r_robustness",) if metric == "r_robustness" else (f"{metric}_attacked", f"{metric}_mos_attacked")
    missing = [attack for attack in ATTACKS if attack not in found]
    return Table(
        key=key,
        caption=f"{metric.removesuffix('_robustness').upper()} under attack, {split} images, scores of float images",
        head=("model, attack", *(_ROLES[role.removeprefix(metric)] for role in roles)),
        rows=tuple(
            (f"{pair.name}, {attack}", tuple(_cell(pair, suffixed(role, attack), split) for role in roles))
            for pair in pairs
            for attack in attacks
            if not pair.suite or attack.removesuffix(CONTROL) in pair.suite
        ),
        notes=(
            *_notes(pairs),
            *([f"Not measured: {', '.join(missing)}."] if missing else []),
            *([f"{still} scores did not change at all, which makes their R infinite."] if still else []),
        ),
    )


def average_table(pairs: Sequence[Pair], split: str) -> Table:
    """Table S7: what NT changes (with minus without), averaged over models and over white-box or black-box attacks."""
    columns = [(metric, kind, group) for metric in ("rmse", "srocc") for kind, group in _KINDS.items()]
    rows = {
        "mean over models and attacks": [pair for pair in pairs if pair.is_reported],
        "the same at the paper's λ and h": [pair for pair in pairs if pair.is_paper_setting],
    }
    return Table(
        key="S7",
        caption=f"Average change through NT under attack (after against before), {split} images, "
        "scores of float images",
        head=("", *(f"Δ{metric.upper()}, {kind}" for metric, kind, _ in columns)),
        rows=tuple(
            (label, tuple(_average(own, split, f"{metric}_attacked", group) for metric, _, group in columns))
            for label, own in rows.items()
            if own
        ),
        notes=(
            "White box: fgsm, perceptual. Black box: uap, kor. Every model and measured attack counts once; "
            "negative ΔRMSE and positive ΔSROCC are better.",
        ),
    )


def _average(pairs: Sequence[Pair], split: str, name: str, attacks: Sequence[str]) -> Cell:
    pairs_of = [(pair, suffixed(name, attack)) for pair in pairs for attack in attacks if attack in pair.attacks]
    digests = [
        f"{evidence_of((*pair.without, *pair.nt), split, of.partition('/')[2] or DEFAULT_ATTACK)} {of}"
        for pair, of in pairs_of
    ]
    changes = [
        _mean(pair.nt, split, of) - _mean(pair.without, split, of)
        for pair, of in once(list(zip(digests, pairs_of, strict=True)))
    ]
    return Cell(metric=name, entries=(Entry(value=float(np.mean(changes))),) if changes else ())


def _unchanged(pairs: Sequence[Pair], split: str) -> int:
    """Scores that no attack has moved; a table that two pairs share, such as their λ=0 baseline's, counts once."""
    tables = {id(table): table for pair in pairs for table in (*pair.without, *pair.nt)}
    parts = [table[table["split"] == split] for table in tables.values()]
    return sum(unchanged(part["clean_score"], part["attacked_score"]) for part in parts)


def step_size_table(baseline: str, by_step_size: Mapping[float, Sequence[pd.DataFrame]], split: str = "test") -> Table:
    """Table 4: the same λ trained with different h; `by_step_size` holds the score tables of each."""
    names = ("srocc", "rmse_attacked", "srocc_attacked", "gradient_l1")
    return Table(
        key="4",
        caption=f"{baseline} with NT at different step sizes h (normalised units), {split} images, "
        "scores of float images",
        head=("h", *(title(name) for name in names)),
        rows=tuple(
            (f"{step_size:g}", tuple(_single(by_step_size[step_size], name, split) for name in names))
            for step_size in sorted(by_step_size)
        ),
    )


def attack_loss_table(baseline: str, scores: Sequence[pd.DataFrame], labels: Sequence[str], split: str) -> Table:
    """Table S2: the attack's loss varied; `labels` are the score table's labels of the variants."""
    names = ("rmse_attacked", "srocc_attacked", "rmse_mos_attacked", "srocc_mos_attacked")
    return Table(
        key="S2",
        caption=f"{baseline} under attacks of different losses, {split} images, scores of float images",
        head=("attack", *(title(name) for name in names)),
        rows=tuple((label, tuple(_single(scores, suffixed(name, label), split) for name in names)) for label in labels),
        notes=("One sign step is the same for mae and mse, whose gradients differ in length only.",),
    )


_KINDS = {"white box": WHITE_BOX, "black box": BLACK_BOX}
_ROLES = {"": "after against before", "_attacked": "after against before", "_mos_attacked": "after against MOS"}


def _cell(pair: Pair, name: str, split: str) -> Cell:
    base, _, suffix = name.partition("/")
    attack = suffix or DEFAULT_ATTACK
    is_clean = base in CLEAN_METRICS
    if not is_clean and attack not in pair.attacks:
        return Cell(metric=name)
    entries = [
        _entry(tables, name, split, _in_print(pair, nt, base, "" if is_clean else attack))
        for nt, tables in ((False, pair.without), (True, pair.nt))
    ]
    return Cell(entries=_marked(entries, name), metric=name)


def _in_print(pair: Pair, nt: bool, metric: str, attack: str) -> float | None:
    """The paper's value of the same model; none beside an NT model of another λ and h."""
    return None if nt and not pair.is_paper_setting else printed(pair.baseline, nt, metric, attack)


def _single(tables: Sequence[pd.DataFrame], name: str, split: str) -> Cell:
    return Cell(entries=(_entry(tables, name, split, None),), metric=name)


def _entry(tables: Sequence[pd.DataFrame], name: str, split: str, in_print: float | None) -> Entry:
    """One seed: bootstrap interval over images. Several: mean, and one standard deviation to either side."""
    if len(tables) == 1:
        found = interval(tables[0], split, name)
        return Entry(value=found.value, low=found.low, high=found.high, printed=in_print)
    values = [value(table, split, name) for table in tables]
    # Infinite where scores did not change at all (R): there is no spread then.
    centre, spread = float(np.mean(values)), float(np.std(values, ddof=1)) if np.isfinite(values).all() else math.nan
    return Entry(value=centre, low=centre - spread, high=centre + spread, printed=in_print)


def _marked(entries: Sequence[Entry], name: str) -> tuple[Entry, ...]:
    """Equal or undefined values have no better one."""
    without, nt = entries
    sign = -1.0 if objective(name).direction == "maximize" else 1.0
    return (
        _with_mark(without, sign * without.value < sign * nt.value),
        _with_mark(nt, sign * nt.value < sign * without.value),
    )


def _with_mark(entry: Entry, is_better: bool) -> Entry:
    return Entry(value=entry.value, low=entry.low, high=entry.high, printed=entry.printed, is_better=is_better)


def _mean(tables: Sequence[pd.DataFrame], split: str, name: str) -> float:
    return float(np.mean([value(table, split, name) for table in tables]))


def suffixed(name: str, attack: str) -> str:
    """The name of an attack's objective: the default attack has no suffix."""
    return name if attack == DEFAULT_ATTACK else f"{name}/{attack}"


def _notes(pairs: Sequence[Pair]) -> tuple[str, ...]:
    seeds = sorted({len(tables) for pair in pairs for tables in (pair.without, pair.nt)})
    one, many = "95 % bootstrap interval over images (one training seed)", "mean ± standard deviation over {} seeds"
    kinds = "; ".join(one if count == 1 else many.format(count) for count in seeds)
    return (
        f"Cells: without NT / with NT, the better one bold. Brackets: {kinds}. "
        "The paper's values are those of LIVEC and the published model sizes.",
    )


def entry_text(entry: Entry) -> str:
    """The number with its bounds, without marks."""
    bounds = f" [{number(entry.low)}, {number(entry.high)}]" if not math.isnan(entry.low) else ""
    return number(entry.value) + bounds
