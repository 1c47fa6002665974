"""Which images a model was made with, as its trial's folder or its export tells."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from study.export.reading import CONFIG, read_config
from study.storage.directory import StudyDirectory
from trainables.trust import read_regular

SPLIT = "split.parquet"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a trial's folder or an export says of the images that its model was made with."""

    data: str
    """The data set, such as "livec:/data/ChallengeDB_release"."""
    split: pd.DataFrame
    """As `StudyDirectory.read_split`: what trained, what chose, what was left for the end, and the MOS on 0..100."""


def seen_by(checkpoint: Path) -> Seen | None:
    """What a checkpoint tells of its images; None for one that tells nothing, such as published weights."""
    if (checkpoint / SPLIT).exists():
        return Seen(
            data=_data_of(checkpoint),
            split=pd.read_parquet(io.BytesIO(read_regular(checkpoint / SPLIT))),
        )
    study = StudyDirectory(checkpoint.resolve().parents[1]) if checkpoint.is_dir() else None
    if study is not None and (study.path / SPLIT).exists() and study.trials == checkpoint.resolve().parent:
        return Seen(data=study.read_study_file().data, split=study.read_split())
    return None


def _data_of(export: Path) -> str:
    data = read_config(export).get("data")
    if not isinstance(data, dict) or not isinstance(data.get("spec"), str):
        raise ValueError(f"{export / CONFIG} is damaged: it says no usable 'data'; export the model again")
    return str(data["spec"])
