"""The paper's tables from score tables: "baseline / baseline + NT" cells, the better one marked, intervals beside.

A table is data (`Table`, `Cell`, `Entry`) and is written as Markdown, LaTeX, CSV or HTML by `analysis.tables_as`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from analysis.attack_series import Attacks
from analysis.comparable import require_same_data
from analysis.labels import defence_text, number, title
from analysis.metrics import Sample, sample
from analysis.paper import ATTACKS, printed
from analysis.verdicts import better
from trainables.metrics import unchanged
from trainables.objectives import DEFAULT_ATTACK
from trainables.record import CONTROL, results_in

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
    is_flattered: bool = False
    """Whether NT's trial was chosen on a seed that is among these."""

    @property
    def name(self) -> str:
        return self.study or self.baseline

    def __post_init__(self) -> None:
        if not self.without or not self.nt:
            missing = "without NT" if not self.without else "with NT"
            raise ValueError(f"{self.baseline}: no finished trial {missing} to put into the tables; wait for one")

    @cached_property
    def _samples(self) -> dict[tuple[bool, str, str], Sample]:
        return {}

    def sample(self, nt: bool, split: str, name: str) -> Sample:
        """An objective without or with NT, resampled once: tables and findings ask for the same ones."""
        if (key := (nt, split, name)) not in self._samples:
            self._samples[key] = sample(self.tables(nt, name.partition("/")[2] or DEFAULT_ATTACK), split, name)
        return self._samples[key]

    def tables(self, nt: bool, attack: str) -> Sequence[pd.DataFrame]:
        """The score tables without or with NT that hold an attack, up to the first seed that was not attacked so: then
        seeds stay paired, between the two and between attacks."""
        held = [attack in found for found in self._held[nt]]
        return (self.nt if nt else self.without)[: held.index(False) if False in held else len(held)]

    def both(self, attack: str) -> list[pd.DataFrame]:
        return [*self.tables(False, attack), *self.tables(True, attack)]

    def seeds(self, attack: str) -> int:
        """Under how many training seeds both models were attacked so."""
        return min(len(self.tables(nt, attack)) for nt in (False, True))

    @cached_property
    def _held(self) -> list[list[list[str]]]:
        """The attacks of each score table, without and with NT."""
        return [[results_in(table) for table in tables] for tables in (self.without, self.nt)]

    @cached_property
    def attacks(self) -> tuple[str, ...]:
        """The attacks that the first seed's tables hold, the paper's first, then the others by name; no audit's
        checks."""
        held = set(self._held[False][0]) & set(self._held[True][0])
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
    """Whether the difference from the other one is decided, and for the better."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Without and with NT, or a single number, or nothing where the study did not measure it."""

    entries: tuple[Entry, ...] = ()
    metric: str = ""
    is_tie: bool = False
    """Whether the two differ by less than the smallest effect of interest, the whole interval of the difference."""


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
    """Tables 1, 2, 3, S4, S5 and S6 of the given baselines.

    Raises ValueError when there is no pair or when the pairs were not measured on the same images.
    """
    if not pairs:
        raise ValueError("tables need at least one baseline with a finished trial without and one with NT")
    require_same_data([(pair.name, pair.data) for pair in pairs])
    return [
        clean_table(pairs, split),
        *(attack_table(pairs, key, split) for key in ATTACK_TABLES),
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
        notes=_notes(pairs, [DEFAULT_ATTACK]),
    )


def attack_table(pairs: Sequence[Pair], key: str, split: str) -> Table:
    """Table 2 (RMSE), 3 (SROCC), S4 (KROCC), S5 (PLCC) or S6 (R): a row for every model and attack of some study.

    Two columns: scores after against before, and after against MOS; R has the first only, RMSE a third, over the spread
    of the clean scores.
    """
    metric = ATTACK_TABLES[key]
    still = _unchanged(pairs, split) if key == "S6" else 0
    found = [attack for pair in pairs for attack in pair.attacks]
    attacks = [attack for attack in dict.fromkeys((*ATTACKS, *found)) if attack in found]
    roles = ["r_robustness"] if metric == "r_robustness" else [f"{metric}_attacked", f"{metric}_mos_attacked"]
    if metric == "rmse":
        roles.append("rmse_attacked_relative")
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
            *_notes(pairs, attacks),
            *([f"Not measured: {', '.join(missing)}."] if missing else []),
            *([f"{still} scores did not change at all, which makes their R infinite."] if still else []),
        ),
    )


def _unchanged(pairs: Sequence[Pair], split: str) -> int:
    """Scores that no attack has moved; a table that two pairs share, such as their λ=0 baseline's, counts once."""
    tables = {id(table): table for pair in pairs for table in (*pair.without, *pair.nt)}
    parts = [table[table["split"] == split] for table in tables.values()]
    return sum(unchanged(part["clean_score"], part["attacked_score"]) for part in parts)


def step_size_table(baseline: str, by_step_size: Mapping[float, Sequence[pd.DataFrame]], split: str = "test") -> Table:
    """Table 4: the same λ trained with different h; `by_step_size` holds the score tables of each."""
    names = ("srocc", "rmse", "srocc_mos_attacked", "srocc_attacked", "rmse_attacked", "gradient_l1")

    def cell(step_size: float, name: str) -> Cell:
        attack = "" if name in CLEAN_METRICS else DEFAULT_ATTACK
        in_print = printed(baseline, True, name, attack, step_size=step_size)
        return single_cell(by_step_size[step_size], name, split, in_print)

    return Table(
        key="4",
        caption=f"{baseline} with NT at different step sizes h (normalised units), {split} images, "
        "scores of float images",
        head=("h", *(title(name) for name in names)),
        rows=tuple(
            (f"{step_size:g}", tuple(cell(step_size, name) for name in names)) for step_size in sorted(by_step_size)
        ),
        notes=(
            "The paper's Table 4 gives attacked SROCC against MOS and attacked RMSE against the score before, as its "
            "row of h = 0.01 in Tables 2 and 3 shows.",
        ),
    )


def attack_loss_table(
    baseline: str, scores: Sequence[pd.DataFrame], labels: Sequence[str], split: str, defence: str = ""
) -> Table:
    """Table S2: the attack's loss varied; `labels` are the score table's labels of the variants.

    defence: what the model was trained with; empty: nothing.
    """
    names = [f"{metric}{role}_attacked" for role in ("", "_mos") for metric in CLEAN_METRICS]
    model = f"{baseline} with {defence_text(defence)}" if defence else baseline

    def cell(name: str, label: str) -> Cell:
        in_print = printed(baseline, defence == "nt", name, label) if defence in ("", "nt") else None
        return single_cell(scores, suffixed(name, label), split, in_print)

    return Table(
        key="S2",
        caption=f"{model} under attacks of different losses, {split} images, scores of float images",
        head=("attack", *(title(name) for name in names)),
        rows=tuple((label, tuple(cell(name, label) for name in names)) for label in labels),
        notes=(
            "The loss's reference is the score of the image as released, which skips normalisation. One sign step is "
            "the same for mae and mse, whose gradients differ in length only.",
        ),
    )


_ROLES = {
    "": "after against before",
    "_attacked_relative": "after against before, over the spread of the scores before",
    "_attacked": "after against before",
    "_mos_attacked": "after against MOS",
}


def _cell(pair: Pair, name: str, split: str) -> Cell:
    base, _, suffix = name.partition("/")
    attack = suffix or DEFAULT_ATTACK
    is_clean = base in CLEAN_METRICS
    if not is_clean and attack not in pair.attacks:
        return Cell(metric=name)
    measured = [pair.sample(nt, split, name) for nt in (False, True)]
    change = (measured[1] - measured[0]).interval()
    said = better(change, name)
    entries = [
        entry_of(of, _in_print(pair, is_nt, base, "" if is_clean else attack), is_better=said == wanted)
        for is_nt, of, wanted in ((False, measured[0], "does not hold"), (True, measured[1], "holds"))
    ]
    return Cell(entries=tuple(entries), metric=name, is_tie=said == "no effect" or change.value == 0)


def _in_print(pair: Pair, nt: bool, metric: str, attack: str) -> float | None:
    """The paper's value of the same model; none beside an NT model of another λ and h."""
    return None if nt and not pair.is_paper_setting else printed(pair.baseline, nt, metric, attack)


def single_cell(tables: Sequence[pd.DataFrame], name: str, split: str, in_print: float | None = None) -> Cell:
    """One number, with the paper's beside it."""
    return Cell(entries=(entry_of(sample(tables, split, name), in_print),), metric=name)


def entry_of(measured: Sample, in_print: float | None = None, is_better: bool = False) -> Entry:
    """A sample's mean with its interval."""
    found = measured.interval()
    return Entry(value=found.value, low=found.low, high=found.high, printed=in_print, is_better=is_better)


def suffixed(name: str, attack: str) -> str:
    """The name of an attack's objective: the default attack has no suffix."""
    return name if attack == DEFAULT_ATTACK else f"{name}/{attack}"


def _notes(pairs: Sequence[Pair], attacks: Sequence[str]) -> tuple[str, ...]:
    held = [(pair, attack) for pair in pairs for attack in attacks if attack in pair.attacks]
    seeds = sorted({len(pair.tables(nt, attack)) for pair, attack in held for nt in (False, True)})
    counts = " or ".join(map(str, seeds))
    flattered = sorted(pair.name for pair in pairs if pair.is_flattered)
    return (
        "Cells: without NT / with NT; ≈ between two that differ by less than is of interest; bold where the paired "
        "difference is decided and not smaller than that. Brackets: 95 % interval of the mean over photographs and "
        f"training seeds ({counts} of them). "
        "The paper's values are those of LIVEC and the published model sizes.",
        *([f"Chosen on the seed that is shown, which flatters: {', '.join(flattered)}."] if flattered else []),
    )


def entry_text(entry: Entry) -> str:
    """The number with its bounds, without marks."""
    bounds = f" [{number(entry.low)}, {number(entry.high)}]" if not math.isnan(entry.low) else ""
    return number(entry.value) + bounds
