"""Record a grid of real small trials for `replay.py` to search: python benchmarks/search/record_grid.py

λ x h x epoch x seed -> objectives, made by the real trainable: HyperIQA at size small on half of the embedded
`photos:small`, NT trials started from their seed's λ=0 baseline. Beside every trial stands the average of its last
epochs' weights, and along λ a chain of trials that each begin with their neighbour's weights: two rivals of mixtures.
Takes about forty minutes of one processor core, shared among all there are; keeps what it has, and goes on from there.
The weights stay in the cache for `mixed.py`; the repository has the table. Needs neither Ray nor Optuna.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from trainables.attacks import create_attack
from trainables.config import BASELINE, Recipe, Stage, TrialConfig
from trainables.data import open_dataset
from trainables.data.split import MosScale, split_table
from trainables.data.store import ImageStore
from trainables.evaluate import evaluate
from trainables.files import default_cache_dir, write_atomically
from trainables.models import create_model
from trainables.models.scorer import Scorer
from trainables.objectives import measure
from trainables.record import START_WEIGHTS, WEIGHTS
from trainables.trial import Trial

GRID = Path(__file__).with_name("grid.parquet")
LAMS = np.geomspace(3e-6, 1e-3, 12)
STEP_SIZES = np.geomspace(1e-3, 1e-1, 4)
EPOCHS = 6
AVERAGED = 3
"""Last epochs whose weights are averaged."""
SEEDS = (0, 1)
ATTACKS: dict[str, dict[str, Any]] = {"fgsm": {"name": "fgsm", "eps": 0.005, "alpha": 0.01}}
RECIPE = Recipe(
    init="baseline",
    augment="dihedral",
    stages=(
        Stage(name="pretrain", epochs=12, lr=1e-3, weight_decay=5e-4, schedule="cosine", warmup=0.1),
        Stage(name="finetune", epochs=EPOCHS, lr=5e-4, weight_decay=5e-4, schedule="cosine", warmup=0.1),
    ),
)


@dataclass(frozen=True)
class Point:
    """One training of the grid."""

    seed: int
    name: str
    lam: float
    step_size: float
    start: str = BASELINE
    """The model whose weights it begins with."""

    @property
    def kind(self) -> str:
        return "trained" if self.start == BASELINE else "continued"


def main() -> None:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(record, [Point(seed, BASELINE, 0.0, 0.01) for seed in SEEDS]))
        # The grid comes first: chains wait for its first trials, and would keep every process from training them.
        grid = pool.map(record, [point for seed in SEEDS for point in grid_points(seed)])
        chains = pool.map(record_chain, [chain(seed) for seed in SEEDS])
        list(itertools.chain(grid, chains))
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(weights_dir().glob("*/*/rows.json"))]
    pd.DataFrame(list(itertools.chain.from_iterable(rows))).to_parquet(GRID, index=False)


def grid_points(seed: int) -> list[Point]:
    points = itertools.product(LAMS, STEP_SIZES)
    return [Point(seed, f"t{number:03d}", lam, step_size) for number, (lam, step_size) in enumerate(points)]


def chain(seed: int) -> list[Point]:
    """Along λ at one h, each from the weights of the one before; the first is the grid's own."""
    names = [f"c{number:03d}" for number in range(1, len(LAMS))]
    starts = [f"t{len(STEP_SIZES) // 2 - 1:03d}", *names]
    step_size = STEP_SIZES[len(STEP_SIZES) // 2 - 1]
    return [Point(seed, name, lam, step_size, start) for name, lam, start in zip(names, LAMS[1:], starts, strict=False)]


def record_chain(points: Iterable[Point]) -> None:
    first, *rest = points
    while not (folder_of(first.seed, first.start) / "rows.json").exists():
        time.sleep(1)
    for point in (first, *rest):
        record(point)


def weights_dir() -> Path:
    return default_cache_dir() / "search-grid"


def folder_of(seed: int, name: str) -> Path:
    return weights_dir() / f"seed-{seed}" / name


def data_of(seed: int) -> tuple[ImageStore, pd.DataFrame]:
    """A seed's split with MOS on 0..100 and every second training image."""
    images = open_dataset("photos:small")
    rows = split_table(images.table, seed=seed)
    rows = rows.assign(mos=MosScale.of_training(rows).normalise(rows["mos"].to_numpy()))
    train = rows["split"] == "train"
    return images.store, pd.concat([rows[train].iloc[::2], rows[~train]])


def record(point: Point) -> None:
    """Train a point, unless that is done, and leave its weights and its rows of the table."""
    folder = folder_of(point.seed, point.name)
    if (folder / "rows.json").exists():
        return
    torch.set_num_threads(1)
    images, rows = data_of(point.seed)
    start = folder_of(point.seed, point.start)
    if point.kind == "continued":
        (begin := folder / "start").mkdir(parents=True, exist_ok=True)
        shutil.copy(start / WEIGHTS, begin / START_WEIGHTS)
        start = begin
    config = TrialConfig(
        trial=point.name if point.lam else BASELINE,
        model="hyperiqa",
        size="small",
        recipe=RECIPE,
        lam=point.lam,
        step_size=point.step_size,
        seed=point.seed,
        attacks=ATTACKS,
    )
    trial = Trial(config, images, rows, folder, start=start)
    last: list[dict[str, torch.Tensor]] = []
    while not trial.finished:
        trial.run_epoch()
        last = [*last, {key: value.clone() for key, value in trial.training.model.state_dict().items()}][-AVERAGED:]
    common = asdict(point) | {"kind": point.kind}
    found = [
        common | {"epoch": number, "seconds": row["train_seconds"]} | {name: row[name] for name in OBJECTIVES}
        for number, row in enumerate(trial.epochs[-EPOCHS:], start=1)
    ]
    values = values_of(trial.training.model, images, rows)
    found[-1] |= values
    model = create_model("hyperiqa", size="small")
    model.load_state_dict({key: torch.stack([one[key] for one in last]).to(torch.float64).mean(0) for key in last[0]})
    found.append(common | values_of(model, images, rows) | {"kind": "averaged", "epoch": EPOCHS})
    (folder / "checkpoint.pt").unlink()
    write_atomically(folder / "rows.json", json.dumps(found).encode())
    print(f"seed {point.seed} {point.name}: λ {point.lam:.2g} h {point.step_size:.2g}: {values}", flush=True)


OBJECTIVES = ("srocc", "rmse_attacked")


def values_of(model: Scorer, images: ImageStore, rows: pd.DataFrame) -> dict[str, float]:
    """Objectives on validation and, as `test_…`, on test, and the processor time that this took."""
    started = time.process_time()
    attacks = {label: create_attack(**params) for label, params in ATTACKS.items()}
    scores = evaluate(model, images, rows[rows["split"] != "train"], attacks)
    validation, test = (measure(scores, split) for split in ("validation", "test"))
    found = {name: validation[name] for name in OBJECTIVES} | {f"test_{name}": test[name] for name in OBJECTIVES}
    return found | {"evaluation_seconds": time.process_time() - started}


if __name__ == "__main__":
    main()
