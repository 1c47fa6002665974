"""How often the audit errs: python -m benchmarks.audit

Trains small models of every baseline (λ from none to the robust end, two seeds: `models.py`), masks some of them on
purpose (`masks.py`), attacks all with what a suite's audit asks for, and counts which are flagged. Half an hour of one
core; what is there already is kept in the cache, score tables included. Writes `record.csv` beside this file and prints
its summary, which stands in docs/audit.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.audit.masks import MASKS
from benchmarks.audit.models import LAMS, SEEDS, Genuine, data, genuine_models
from search_spaces.schema import baselines
from trainables.attacks import create_attack
from trainables.audit import audit
from trainables.data.store import ImageStore
from trainables.evaluate import evaluate
from trainables.files import default_cache_dir
from trainables.record import read_scores, write_scores

RECORD = Path(__file__).with_name("record.csv")
IMAGES = 40
"""Validation images, spread over all photographs."""
ATTACKS: dict[str, dict[str, Any]] = {
    "fgsm": {"name": "fgsm"},
    "noise": {"name": "noise"},
    "ifgsm5": {"name": "ifgsm", "alpha": 0.002, "steps": 5},
    "apgd": {"name": "apgd", "steps": 8, "restarts": 2},
    "square": {"name": "square", "queries": 80},
    "again_check": {"name": "again"},
    "slope_check": {"name": "fgsm", "eps": 5e-4},
    "eps02_check": {"name": "ifgsm", "eps": 0.02, "alpha": 0.008, "steps": 5},
    "eps08_check": {"name": "ifgsm", "eps": 0.08, "alpha": 0.032, "steps": 5},
    "eps32_check": {"name": "ifgsm", "eps": 0.32, "alpha": 0.128, "steps": 5},
}
"""Those of the search spaces' suites, with fewer steps and queries; and `transfer` from the λ=0 model."""


@dataclass(frozen=True)
class Case:
    """A model to judge, genuine or masked."""

    genuine: Genuine
    mask: str = ""

    @property
    def name(self) -> str:
        own = self.genuine
        mask = f"-mask{list(MASKS).index(self.mask):02d}" if self.mask else ""
        return f"{own.baseline}-{own.seed}-{own.trial}{mask}"


def cases() -> Iterator[Case]:
    """All genuine models, and every mask on two of them: of two baselines, with a weak and with a strong λ."""
    yield from map(Case, genuine_models())
    names = baselines()
    for number, mask in enumerate(MASKS):
        for turn in (0, 1):
            baseline = names[(number + 2 * turn) % len(names)]
            yield Case(Genuine(baseline, LAMS[baseline][turn], SEEDS[turn]), mask)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    torch.set_num_threads(1)
    images, rows = data()
    validation = rows[rows["split"] == "validation"].sort_values("image")
    chosen = validation.iloc[:: len(validation) // IMAGES].head(IMAGES)
    found = []
    for case in cases():
        flags = audit(_table_of(case, images, rows, chosen), "validation", names=NAMES)
        found.append(
            {
                "model": case.name,
                "baseline": case.genuine.baseline,
                "lam": case.genuine.lam,
                "seed": case.genuine.seed,
                "mask": case.mask,
                "flags": "; ".join(f"{flag.rule}: {flag.attack} {flag.ratio:.3g}" for flag in flags),
            }
        )
        print(found[-1]["model"], case.mask, "|", found[-1]["flags"] or "no flag", flush=True)
    record = pd.DataFrame(found)
    record.to_csv(RECORD, index=False)
    print(summary(record))


NAMES = {label: str(entry["name"]) for label, entry in ATTACKS.items()}


def _table_of(case: Case, images: ImageStore, rows: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    """A case's score table; made where the cache lacks it."""
    path = default_cache_dir() / "audit-models" / "tables" / f"{case.name}.parquet"
    if not path.exists():
        model = case.genuine.model(images, rows)
        source = Genuine(case.genuine.baseline, 0.0, case.genuine.seed).model(images, rows)
        attacks = {label: create_attack(**entry) for label, entry in ATTACKS.items()}
        attacks["transfer"] = create_attack("transfer", source=source, alpha=0.002, steps=5)
        torch.manual_seed(0)  # for the masks that draw
        table = evaluate(MASKS[case.mask](model) if case.mask else model, images, chosen, attacks)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_scores(path, table, {"model": case.name, "mask": case.mask})
    return read_scores(path)


def summary(record: pd.DataFrame) -> str:
    """The record as the table of docs/audit.md: of each kind of model how many there are, were flagged, and by what."""
    record = record.fillna("")
    kinds = record["mask"].where(record["mask"] != "", "none: " + record["baseline"])
    lines = ["| mask | models | flagged | by the rules |", "|---|---|---|---|"]
    for kind, part in record.groupby(kinds, sort=False):
        rules = sorted({flag.split(":")[0] for flags in part["flags"] for flag in flags.split("; ") if flag})
        lines.append(f"| {kind} | {len(part)} | {(part['flags'] != '').sum()} | {', '.join(rules) or '–'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
