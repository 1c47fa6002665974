"""Small genuine models to judge the audit by: every baseline, λ from none to the robust end, several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from search_spaces.schema import baselines, load_study_file
from trainables.config import BASELINE
from trainables.data import open_dataset
from trainables.data.split import MosScale, split_table
from trainables.data.store import ImageStore
from trainables.files import default_cache_dir
from trainables.models.scorer import Scorer
from trainables.record import SCORES
from trainables.suite import load_trial_model
from trainables.trial import Trial, run_trial

LAMS: Mapping[str, tuple[float, ...]] = {
    "hyperiqa": (3e-5, 2e-4, 1e-3),
    "dbcnn": (5e-4, 5e-3, 3e-2),
    "linearityiqa": (5e-4, 5e-3, 3e-2),
    "maniqa": (3e-4, 3e-3, 1e-2),
}
"""λ beside the λ=0 baseline, from the search spaces at size small: a little, the paper's kind, the robust end."""
STEP_SIZE = 0.01
SEEDS = (0, 1)
TRAINING_IMAGES_KEPT = 2
"""Every how manyth training image is kept: models in a minute are what is wanted here, not good ones."""


@dataclass(frozen=True)
class Genuine:
    """One model that is what it looks like; trained on first use, then found in the cache."""

    baseline: str
    lam: float
    seed: int

    @property
    def trial(self) -> str:
        return BASELINE if self.lam == 0 else f"t{LAMS[self.baseline].index(self.lam):03d}"

    def folder(self, trial: str) -> Path:
        return default_cache_dir() / "audit-models" / f"{self.baseline}-{self.seed}" / trial

    def model(self, images: ImageStore, rows: pd.DataFrame) -> Scorer:
        study = load_study_file(self.baseline, preset="smoke", overrides={"recipe": "brief", "seed": self.seed})
        config = study.trial_config(self.trial, {"lam": self.lam, "step_size": STEP_SIZE} if self.lam else {})
        folder = self.folder(self.trial)
        if not (folder / SCORES).exists():
            start = None if self.lam == 0 else self.folder(BASELINE)
            run_trial(Trial(config, images, rows, folder, start=start))
        return load_trial_model(config, folder)


def genuine_models() -> list[Genuine]:
    """Seed by seed, each baseline before the models that begin with it."""
    return [Genuine(name, lam, seed) for seed in SEEDS for name in baselines() for lam in (0.0, *LAMS[name])]


def data() -> tuple[ImageStore, pd.DataFrame]:
    """The embedded photographs and one split for all models, with MOS on 0..100."""
    images = open_dataset("photos:small")
    rows = split_table(images.table, seed=0)
    rows = rows.assign(mos=MosScale.of_training(rows).normalise(rows["mos"].to_numpy()))
    is_training = rows["split"] == "train"
    return images.store, pd.concat([rows[is_training].iloc[::TRAINING_IMAGES_KEPT], rows[~is_training]])


if __name__ == "__main__":
    torch.set_num_threads(1)
    store, table = data()
    for genuine in genuine_models():
        genuine.model(store, table)
        print(genuine, flush=True)
