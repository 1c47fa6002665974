"""One network for every λ, against mixtures: python benchmarks/search/conditioned.py

A network that gets λ as an input, as in once-for-all adversarial training (OAT: Wang et al., NeurIPS 2020) and in
loss-conditional training (YOTO: Dosovitskiy and Djolonga, ICLR 2020): a small network of log λ scales and shifts what
each normalisation layer gives, and every batch draws its λ. It begins where the recorded grid's trials begin, and
trains as long as λ=0 and one trial together, or twice as long. Asked at λ = 0 and along the grid's λ, it gives as many
models as two trainings and their mixtures; `mixed.py` says what share of the grid's hypervolume they have. Needs the
weights that `record_grid.py` leaves in the cache, and the tables of `mixed.py`.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import mixed
import numpy as np
import pandas as pd
import record_grid
import replay
import torch
from torch import Tensor, nn

from analysis.front import TrialPoint
from trainables.config import BASELINE, Recipe, TrialConfig
from trainables.files import write_atomically
from trainables.models import create_model
from trainables.models.scorer import Scorer
from trainables.record import START_WEIGHTS
from trainables.train import Training
from trainables.trust import read_weights

TABLE = Path(__file__).with_name("conditioned.parquet")
STEP_SIZE = float(record_grid.STEP_SIZES[1])
"""The h of the trials that are continued along λ."""
WITHOUT = 0.25
"""Share of the batches with λ = 0."""
DRAWS = range(3)
"""Seeds of the λ drawn and of the order of batches, for each of the grid's splits."""
EPOCHS = (2 * record_grid.EPOCHS, 4 * record_grid.EPOCHS)
WIDTH = 32


class Dial(nn.Module):
    """λ as all layers see it: two features, whether there is a penalty and how far along log λ it is."""

    features: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(2), persistent=False)
        self.body = nn.Sequential(nn.Linear(2, WIDTH), nn.ReLU())

    def turn(self, lam: float) -> None:
        low, high = np.log(record_grid.LAMS[0]), np.log(record_grid.LAMS[-1])
        self.features.copy_(torch.tensor([float(lam > 0), (math.log(lam) - low) / (high - low) if lam else 0.0]))


class Conditioned(nn.Module):
    """A normalisation layer whose output, (B, C, H, W), the dial scales and shifts by channel; at first by nothing."""

    def __init__(self, norm: nn.BatchNorm2d, dial: Dial) -> None:
        super().__init__()
        self.norm = norm
        self._dial = (dial,)  # in a tuple: the dial is a part of the model, once
        self.film = nn.Linear(WIDTH, 2 * norm.num_features)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, images: Tensor) -> Tensor:
        dial = self._dial[0]
        scale, shift = self.film(dial.body(dial.features))[None, :, None, None].chunk(2, dim=1)
        return self.norm(images) * (1 + scale) + shift


def conditioned(model: Scorer) -> tuple[Scorer, Dial]:
    """The model with every BatchNorm2d under one dial. It scores as before until it is trained."""
    dial = Dial()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d) and not isinstance(module, Conditioned):
                setattr(module, name, Conditioned(child, dial))
    model.add_module("dial", dial)
    return model, dial


class DrawnLambda(Training):
    """Training whose every step draws its λ: none, or log-uniform over the grid's."""

    def __init__(self, dial: Dial, *args: Any) -> None:
        super().__init__(*args)
        self.dial = dial
        self.draw = np.random.default_rng(self.config.seed)

    def _step(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        low, high = np.log(record_grid.LAMS[[0, -1]])
        lam = 0.0 if self.draw.random() < WITHOUT else float(np.exp(self.draw.uniform(low, high)))
        self.dial.turn(lam)
        self.config = dataclasses.replace(self.config, lam=lam)
        return super()._step(images, targets)


def recipe_of(epochs: int) -> Recipe:
    last = dataclasses.replace(record_grid.RECIPE.stages[-1], epochs=epochs)
    return dataclasses.replace(record_grid.RECIPE, init="imagenet", stages=(last,))


def models_along(task: tuple[int, int, int]) -> list[dict[str, Any]]:
    """Train one network and ask it at every λ; a row each."""
    seed, draw, epochs = task
    torch.set_num_threads(1)
    torch.manual_seed(draw)
    images, rows = record_grid.data_of(seed)
    plain = create_model("hyperiqa", size="small")
    plain.load_state_dict(read_weights(record_grid.folder_of(seed, BASELINE) / START_WEIGHTS))
    model, dial = conditioned(plain)
    config = TrialConfig(
        trial="t000",
        model="hyperiqa",
        size="small",
        recipe=recipe_of(epochs),
        lam=float(record_grid.LAMS[0]),
        step_size=STEP_SIZE,
        seed=1000 * draw + seed,
        attacks=record_grid.ATTACKS,
    )
    training = DrawnLambda(dial, model, config, images, rows[rows["split"] == "train"], torch.device("cpu"))
    seconds = 0.0
    while not training.finished:
        seconds += float(training.run_epoch()["train_seconds"])
    found = []
    for lam in (0.0, *record_grid.LAMS):
        dial.turn(float(lam))
        values = record_grid.values_of(training.model, images, rows)
        found.append({"seed": seed, "draw": draw, "epochs": epochs, "seconds": seconds, "lam": float(lam), **values})
    return found


def record(task: tuple[int, int, int]) -> list[dict[str, Any]]:
    place = record_grid.weights_dir() / "conditioned" / f"{'-'.join(map(str, task))}.json"
    if not place.exists():
        write_atomically(place, json.dumps(models_along(task)).encode())
    found: list[dict[str, Any]] = json.loads(place.read_text(encoding="utf-8"))
    return found


def main() -> None:
    tasks = list(itertools.product(record_grid.SEEDS, DRAWS, EPOCHS))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        table = pd.DataFrame(list(itertools.chain.from_iterable(pool.map(record, tasks))))
    table.to_parquet(TABLE, index=False)
    TABLE.with_suffix(".md").write_text(as_text(table), encoding="utf-8")


def as_text(table: pd.DataFrame) -> str:
    """Shares of the grid's hypervolume: of the conditioned networks, and of two trainings with mixtures."""
    replay.quiet()
    models = {seed: mixed.Models(seed) for seed in record_grid.SEEDS}
    lines = [
        "Share of the whole grid's hypervolume: mean [lowest, highest].",
        "",
        "| models | fine-tuning epochs | evaluations | validation | test |",
        "|---|---|---|---|---|",
    ]
    for epochs in EPOCHS:
        of = table[table["epochs"] == epochs]
        shares = [(models[seed], _points(rows)) for (seed, _), rows in of.groupby(["seed", "draw"])]
        lines.append(_line("λ as an input, drawn per batch", epochs, 1 + len(record_grid.LAMS), shares))
    ends = [(one, one.filled(_two_ends(one), 11)) for one in models.values()]
    lines.append(_line("λ=0, the largest λ at the same h, 11 mixtures", EPOCHS[0], 13, ends))
    return "\n".join(lines) + "\n"


def _two_ends(models: mixed.Models) -> list[TrialPoint]:
    return [models.trained[BASELINE], models.nearest(float(record_grid.LAMS[-1]), STEP_SIZE)]


def _points(rows: pd.DataFrame) -> list[TrialPoint]:
    return [
        TrialPoint(
            trial=f"λ={row['lam']:.2g}",
            lam=row["lam"],
            step_size=STEP_SIZE,
            validation={name: row[name] for name in record_grid.OBJECTIVES},
            test={name: row[f"test_{name}"] for name in record_grid.OBJECTIVES},
        )
        for row in rows.to_dict("records")
    ]


def _line(name: str, epochs: int, asked: int, found: Iterable[tuple[mixed.Models, list[TrialPoint]]]) -> str:
    shares = [[models.share(points, split) for models, points in found] for split in ("validation", "test")]
    cells = [f"{np.mean(some):.3f} [{min(some):.3f}, {max(some):.3f}]" for some in shares]
    return f"| {name} | {epochs} | {asked} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
