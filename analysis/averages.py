"""Table S7: what NT changes under attack, averaged over white-box, black-box and all attacks, a row for each model."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.attack_families import does_nothing
from analysis.identity import evidence_of, once
from analysis.metrics import average
from analysis.paper import BLACK_BOX, WHITE_BOX, printed_average
from analysis.tables import Cell, Pair, Table, entry_of, suffixed

KINDS = {"white box": WHITE_BOX, "black box": BLACK_BOX, "overall": WHITE_BOX + BLACK_BOX}
COLUMNS = tuple((f"{metric}_attacked", kind) for metric in ("rmse", "srocc") for kind in KINDS)


def average_table(pairs: Sequence[Pair], split: str) -> Table:
    """Changes (with minus without NT, after against before) per model; then the mean over what the studies report, and
    over the models at the paper's λ and h."""
    means = {
        "mean over models and attacks": [pair for pair in pairs if pair.is_reported],
        "the same at the paper's λ and h": [pair for pair in pairs if pair.is_paper_setting],
    }
    named = [(pair.name, [pair]) for pair in pairs] + [(label, own) for label, own in means.items() if own]
    return Table(
        key="S7",
        caption=f"Average change through NT under attack (after against before), {split} images, "
        "scores of float images",
        head=("", *(f"Δ{name.partition('_')[0].upper()}, {kind}" for name, kind in COLUMNS)),
        rows=tuple((label, tuple(_cell(own, split, *column) for column in COLUMNS)) for label, own in named),
        notes=(
            "White box: fgsm, perceptual. Black box: uap, kor. Every model and measured attack counts once, an attack "
            "that is not shown to do more than its control not at all; negative ΔRMSE and positive ΔSROCC are better.",
        ),
    )


def _cell(pairs: Sequence[Pair], split: str, name: str, kind: str) -> Cell:
    found = [
        (pair, attack)
        for pair in pairs
        for attack in KINDS[kind]
        if attack in pair.attacks and not does_nothing(pair, attack, split)
    ]
    changes = [
        pair.sample(True, split, of) - pair.sample(False, split, of)
        for pair, of in once([(_digest(pair, split, attack), (pair, suffixed(name, attack))) for pair, attack in found])
    ]
    if not changes:
        return Cell(metric=name)
    in_print = printed_average(pairs[0].baseline, kind, name) if len(pairs) == 1 and pairs[0].is_paper_setting else None
    return Cell(metric=name, entries=(entry_of(average(changes), in_print),))


def _digest(pair: Pair, split: str, attack: str) -> str:
    return f"{evidence_of(pair.both(attack), split, attack)} {attack}"
