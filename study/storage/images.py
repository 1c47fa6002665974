"""A study's images as this machine has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from study.storage.directory import StudyDirectory
from trainables.data import open_dataset
from trainables.data.split import leak_groups, locate

if TYPE_CHECKING:
    from trainables.data.store import ImageStore


def images_of(directory: StudyDirectory) -> tuple[ImageStore, pd.DataFrame]:
    """A study's images here, and its split with each row's `index` among them.

    ValueError when an image is missing here or is not the one that the study began with.
    """
    study_file = directory.read_study_file()
    images = open_dataset(study_file.data, skip_unreadable=study_file.skip_unreadable)
    return images.store, locate(directory.read_split(), images.table, spec=study_file.data)


def remarks_on(left_out: dict[str, str], split: pd.DataFrame) -> list[str]:
    """What a user should hear of the images before anything is made of them; nothing, if all is well."""
    remarks = []
    if left_out:
        first = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:3])
        remarks.append(f"{len(left_out)} unreadable images are left out ({first}{'; …' if len(left_out) > 3 else ''})")
    sides = split.groupby(leak_groups(split))["split"].nunique()
    if (sides > 1).any():
        remarks.append(
            f"{int((sides > 1).sum())} photographs have images on two sides of the split that came with the set, so "
            "what is reported on them flatters the model; --split content draws one that keeps them together"
        )
    return remarks
