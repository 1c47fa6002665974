"""One trial, alone: train, probe each epoch, attack and measure, leave a record in a folder.

    trial = Trial(config, images, rows, folder)
    while not trial.finished:
        report(trial.run_epoch())
    trial.write_record()

The folder holds `config.json`, `epochs.jsonl`, `checkpoint.pt` while it trains, and at the end `scores.parquet` and
`model.safetensors`. A trial made on a folder that already has a checkpoint goes on after its last finished epoch.

A refit (`TrialConfig.refit`) has no validation images: they train. It is not probed, and its record is of test images.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
import torch

from trainables.attacks import create_attack
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.evaluate import evaluate, probe
from trainables.files import write_atomically
from trainables.models import create_model
from trainables.models.published import load_weights
from trainables.models.scorer import Scorer
from trainables.objectives import DEFAULT_ATTACK
from trainables.record import SCORES, START_WEIGHTS, WEIGHTS, metadata_of, write_scores
from trainables.seeding import derive_seed
from trainables.train import Training
from trainables.trust import open_regular, read_weights


class Trial:
    """`rows` holds every split: `index` into `images`, `image`, `content`, `split`, `mos` (0..100).

    `start` is the folder of the baseline, needed when the recipe's `init` is `baseline`.
    """

    def __init__(
        self,
        config: TrialConfig,
        images: ImageStore,
        rows: pd.DataFrame,
        folder: Path,
        *,
        start: Path | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.config = config
        self.images = images
        self.folder = folder
        self.rows = {split: rows[rows["split"] == split] for split in ("train", "validation", "test")}
        if config.refit and len(self.rows["validation"]):
            raise ValueError(f"{config.trial} is a refit, whose validation images train; the split keeps some apart")
        self.attacks = {label: create_attack(**params) for label, params in config.attacks.items()}
        self.device = torch.device(device)
        self.training = Training(starting_model(config, start), config, images, self.rows["train"], self.device)
        self.epochs: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "config.json", json.dumps(config.to_dict(), indent=1).encode())
        self._restore()

    @property
    def finished(self) -> bool:
        """Whether training is over; the record may still have to be written."""
        return self.training.finished

    def run_epoch(self) -> dict[str, Any]:
        """Train one epoch, probe the validation part, if any, save a checkpoint; returns the row of `epochs.jsonl`."""
        if self.training.starts_from_best:
            self.training.model.load_state_dict(read_weights(self.folder / WEIGHTS))
        self._keep_start_weights()
        row: dict[str, Any] = self.training.run_epoch()
        if not self.config.refit:
            started = time.perf_counter()
            row |= self._probe()
            row["probe_seconds"] = time.perf_counter() - started
        self.epochs.append(row)
        self._save_checkpoint()
        self._save_epoch()
        return row

    def _probe(self) -> dict[str, float]:
        attack, precision = self.attacks[DEFAULT_ATTACK], self.config.recipe.attack_precision
        return probe(self.training.model, self.images, self.rows["validation"], attack, precision=precision)

    def write_record(self) -> pd.DataFrame:
        """Attack and score validation and test images with the shipped weights; write and return the score table."""
        model = self.training.model
        model.load_state_dict(read_weights(self.folder / WEIGHTS))
        rows = pd.concat([self.rows["validation"], self.rows["test"]])
        scores = evaluate(model, self.images, rows, self.attacks, precision=self.config.recipe.attack_precision)
        write_scores(self.folder / SCORES, scores, metadata_of(self.config, self.folder))
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)
        return scores

    def _is_best(self) -> bool:
        """Whether the epoch just run is the one to ship so far, or to begin the next stage from.

        The epochs of a stage compete with each other only; those of a refit do not, for nothing measures them.
        """
        if self.config.refit:
            return True
        found = [row["srocc"] for row in self.epochs if row["stage"] == self.epochs[-1]["stage"]]
        return not self.training.best_counts or best_epoch(found) == len(found)

    def _keep_start_weights(self) -> None:
        first_of_last_stage = self.training.epoch == self.config.epochs - self.config.stage_epochs[-1]
        if self.config.is_baseline and self.config.recipe.init == "baseline" and first_of_last_stage:
            self._save_weights(START_WEIGHTS)

    def _save_weights(self, name: str) -> None:
        weights = {key: value.contiguous() for key, value in self.training.model.state_dict().items()}
        write_atomically(self.folder / name, safetensors.torch.save(weights))

    def _save_checkpoint(self) -> None:
        state = {"training": self.training.state_dict(), "epochs": self.epochs}
        write_atomically(self.folder / "checkpoint.pt", lambda file: torch.save(state, file))

    def _save_epoch(self) -> None:
        """What follows from the checkpoint, which is written first: after a kill in between, this is done again."""
        if self._is_best():
            self._save_weights(WEIGHTS)
        lines = "".join(json.dumps(row) + "\n" for row in self.epochs)
        write_atomically(self.folder / "epochs.jsonl", lines.encode())

    def _restore(self) -> None:
        path = self.folder / "checkpoint.pt"
        if path.exists():
            with open_regular(path) as file:
                state = torch.load(file, map_location=self.device, weights_only=True)
            self.training.load_state_dict(state["training"])
            self.epochs = state["epochs"]
            self._save_epoch()


def best_epoch(sroccs: Sequence[float]) -> int:
    """Which epoch (from 1) is the first with the highest SROCC.

    One of constant predictions has no SROCC (NaN) and loses against any that has one.
    """
    return 1 + max(range(len(sroccs)), key=lambda row: -math.inf if math.isnan(sroccs[row]) else sroccs[row])


def chosen_epochs(config: TrialConfig, epochs: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """How many epochs of each of its stages a finished trial ships: all, or up to the one that validation chose.

    epochs: the rows of its `epochs.jsonl`.
    """
    sroccs = {stage.name: [row["srocc"] for row in epochs if row["stage"] == stage.name] for stage in config.stages}
    return tuple(
        best_epoch(sroccs[stage.name]) if config.ships_best(number) else stage.epochs
        for number, stage in enumerate(config.stages)
    )


def starting_model(config: TrialConfig, start: Path | None) -> Scorer:
    """The model a trial begins with: fresh from its seed, with ImageNet weights, or from the baseline's folder."""
    init = config.recipe.start(is_baseline=config.is_baseline)
    torch.manual_seed(derive_seed(config.seed, "init"))
    model = create_model(config.model, size=config.size, pretrained=init == "imagenet", names_seed=config.names_seed)
    if init != "baseline" and config.recipe.weights is not None:
        load_weights(model, config.recipe.weights, swin_scale=config.recipe.swin_scale)
    if init == "baseline":
        if start is None:
            raise ValueError(f"trial {config.trial}: init is 'baseline', so the baseline's folder has to be given")
        model.load_state_dict(read_weights(start / START_WEIGHTS))
    return model


def run_trial(trial: Trial, report: Callable[[dict[str, Any]], None] = lambda row: None) -> pd.DataFrame:
    """Run a trial to its end, handing each epoch's row to `report`; returns its score table."""
    while not trial.finished:
        report(trial.run_epoch())
    return trial.write_record()
