"""The embedded photographs that trials of this room are trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd
import pytest

from trainables.data import open_dataset
from trainables.data.image_set import ImageSet
from trainables.data.split import MosScale, split_table

Few = Callable[[Mapping[str, int]], pd.DataFrame]


@pytest.fixture(scope="session")
def photos() -> ImageSet:
    return open_dataset("photos:small")


@pytest.fixture(scope="session")
def few(photos: ImageSet) -> Few:
    """`few({"train": 20})`: every 20th row of that part, so that an epoch takes a moment."""

    def chosen(steps: Mapping[str, int]) -> pd.DataFrame:
        table = split_table(photos.table, seed=0)
        table = table.assign(mos=MosScale.of_training(table).normalise(table["mos"].to_numpy()))
        return pd.concat([table[table["split"] == part].iloc[::step] for part, step in steps.items()])

    return chosen
