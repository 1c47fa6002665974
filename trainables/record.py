"""A trial's record: the score table, one row per image and attack. Everything that is reported is computed from it.

`docs/record.md` describes every column.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trainables.config import TrialConfig
from trainables.files import write_atomically
from trainables.trust import read_regular

CONTROL = "_control"
"""Ends the label of what an attack does without its model, such as the start of `perceptual`."""
CHECK = "_check"
"""Ends the label of an attack that is evidence for the audit (`audit.py`) and no result of its own."""
SCORES = "scores.parquet"
"""The record's name in a trial's folder."""
WEIGHTS = "model.safetensors"
"""The shipped weights: those that the record was made with."""
START_WEIGHTS = "start.safetensors"
"""The baseline's weights before its last stage: where the other trials start when `init` is `baseline`."""

VERSION = 3
"""Raised when a column comes, goes or changes its meaning. Version 1 did not say where an image's views lie, and cut
them by its name; readers take it as that. Versions 1 and 2 lack `LATER`. Other versions are refused."""
VIEWS = "views"
"""The view rule's key in a score table's metadata (`config.ViewRule`)."""

SCHEMA = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("mos", pa.float64(), nullable=False),
        pa.field("attack", pa.string(), nullable=False),
        pa.field("clean_score", pa.float64(), nullable=False),
        pa.field("attacked_score", pa.float64(), nullable=False),
        pa.field("attacked_score_8bit", pa.float64()),
        pa.field("max_delta", pa.float64(), nullable=False),
        pa.field("ssim", pa.float64()),
        pa.field("psnr", pa.float64()),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("gradient_l1", pa.float64(), nullable=False),
        pa.field("linear_change", pa.float64()),
    ],
    metadata={"nt_study_scores_version": str(VERSION)},
)
"""The columns, in order; missing values are allowed where a cheap probe leaves something out."""
LATER = ("psnr", "linear_change")
"""Columns of version 3; a table without them has them as missing values."""

_METADATA_KEY = b"nt_study_scores_metadata"
_VERSION_KEY = b"nt_study_scores_version"


def metadata_of(config: TrialConfig, folder: Path) -> dict[str, str]:
    """What a trial's table says beside its rows: the trial, its view rule, which weights it was measured with, and of a
    refit on what it was trained."""
    refit = {"trained_on": "train and validation"} if config.refit else {}
    return {"trial": config.trial, VIEWS: config.views, WEIGHTS: digest_of(folder / WEIGHTS), **refit}


def digest_of(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def check_weights(folder: Path) -> None:
    """ValueError where a trial's weights are not those that its score table was measured with.

    Tables of before weights were noted, and folders without a table, say nothing of it.
    """
    weights, scores = folder / WEIGHTS, folder / SCORES
    if not scores.exists():
        return
    noted = read_metadata(scores).get(WEIGHTS)
    if noted is not None and digest_of(weights) != noted:
        raise ValueError(
            f"{weights} is not the file that {scores.name} beside it was measured with: it was damaged or replaced; "
            "bring it back from a copy, or train the trial again in a new study"
        )


def results_in(scores: pd.DataFrame) -> list[str]:
    """Labels of a table's attacks, without those that are evidence for the audit alone."""
    return [label for label in map(str, scores["attack"].unique()) if not label.endswith(CHECK)]


def read_metadata(source: Path) -> dict[str, str]:
    """What a score table says beside its rows. ValueError where it cannot be read as one."""
    try:
        metadata = pq.read_schema(source).metadata or {}
        return dict(json.loads(metadata.get(_METADATA_KEY, b"{}")))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{source} cannot be read as a score table: {error}") from None


def write_scores(target: Path | str | IO[bytes], frame: pd.DataFrame, metadata: Mapping[str, str]) -> None:
    """Write a score table as Parquet; a path is replaced whole or not at all.

    metadata: what the rows do not say (trial, view rule, …), kept in the file. Raises ValueError for a frame that lacks
    a column of `SCHEMA` other than `LATER`, has another one, or holds values that a column does not take.
    """
    _require_columns(frame.columns, "the frame")
    try:
        table = pa.Table.from_pandas(_with_later(frame), schema=SCHEMA, preserve_index=False)
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(f"the frame does not fit the score table's schema: {error}") from error
    table = table.replace_schema_metadata({**(SCHEMA.metadata or {}), _METADATA_KEY: json.dumps(dict(metadata))})
    if isinstance(target, (str, Path)):
        write_atomically(Path(target), lambda file: _write(table, file))
    else:
        _write(table, target)


def _write(table: pa.Table, target: str | IO[bytes]) -> None:
    """Bytes of the same place in a number lie together: scores are float32 at heart, and half the size so."""
    numbers = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    others = [name for name in table.schema.names if name not in numbers]
    pq.write_table(table, target, compression="zstd", use_dictionary=others, use_byte_stream_split=numbers)


def read_scores(source: Path | str | IO[bytes]) -> pd.DataFrame:
    """A score table as it was written, with its metadata in `frame.attrs`.

    Raises ValueError for a file that is no score table, is of another version, or lacks a column.
    """
    name = str(source) if isinstance(source, (str, Path)) else "the file"
    try:
        table = pq.read_table(io.BytesIO(read_regular(source)) if isinstance(source, (str, Path)) else source)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{name} cannot be read as a score table: {error}") from error
    metadata = table.schema.metadata or {}
    version = metadata.get(_VERSION_KEY, b"none").decode()
    if version not in map(str, range(1, VERSION + 1)):
        raise ValueError(
            f"{name} is a score table of version {version}, this program reads versions 1 to {VERSION}; "
            "evaluate the trial again to have it rewritten"
        )
    _require_columns(table.column_names, name)
    frame = _with_later(table.to_pandas())
    said = {VIEWS: "by_name"} if version == "1" else {}
    frame.attrs.update(said | json.loads(metadata.get(_METADATA_KEY, b"{}")))
    return frame


def _with_later(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame's columns in the schema's order, with missing values where `LATER` were not measured."""
    missing = {column: np.nan for column in LATER if column not in frame}
    return frame.assign(**missing)[SCHEMA.names]


def _require_columns(columns: object, name: str) -> None:
    found = list(columns)  # type: ignore[call-overload]
    missing = [column for column in SCHEMA.names if column not in (*found, *LATER)]
    extra = [str(column) for column in found if column not in SCHEMA.names]
    if missing or extra:
        parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(extra)}"] * bool(extra)
        raise ValueError(f"{name} {' and '.join(parts)}; a score table has the columns {', '.join(SCHEMA.names)}")
