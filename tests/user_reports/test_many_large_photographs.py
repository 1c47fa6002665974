"""Twelve photographs of 8900x8900 took 4.4 GB, because whole images were decoded ahead of what was done with them.

Here small files count as large: the limit is lowered, and what is decoded and not yet let go is counted.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from study.export import reading
from trainables.data import decode, encoded, labelled
from trainables.data.batches import training_batches
from trainables.data.decode import at_a_time, decode_image
from trainables.data.manifest import read_manifest
from trainables.evaluate import clean_scores
from trainables.models import create_model

SIDE, COUNT = 200, 24
LIMIT = 3 * SIDE**2


@dataclass
class Held:
    """Decoded images that something still refers to."""

    now: int = 0
    most: int = 0

    def decode(self, *arguments: Any) -> Any:
        found = decode_image(*arguments)
        self.now += 1
        self.most = max(self.most, self.now)
        weakref.finalize(found[0], self.let_go)
        return found

    def let_go(self) -> None:
        self.now -= 1


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held()
    for module in (labelled, encoded, reading):
        monkeypatch.setattr(module, "decode_image", held.decode)
    monkeypatch.setattr(decode, "PIXELS_AT_A_TIME", LIMIT)
    return held


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(COUNT):
        Image.new("RGB", (SIDE, SIDE + number % 2), (10 * number, 90, 90)).save(folder / f"{number}.png")
    rows = "".join(f"{number}.png,{number}\n" for number in range(COUNT))
    (folder / "ratings.csv").write_text(f"image,mos\n{rows}", encoding="utf-8")
    return folder


@pytest.mark.parametrize("room", [None, 0], ids=["kept decoded", "decoded when read"])
def test_a_first_opening(photographs: Path, held: Held, tmp_path: Path, room: int | None) -> None:
    labelled.open_labelled(read_manifest, photographs / "ratings.csv", tmp_path / "cache", max_decoded_bytes=room)
    assert held.most <= LIMIT // SIDE**2 + 1  # and the one that is being written


def test_training_and_scoring_images_that_are_decoded_when_read(photographs: Path, held: Held, tmp_path: Path) -> None:
    images = labelled.open_labelled(read_manifest, photographs / "ratings.csv", tmp_path / "cache", max_decoded_bytes=0)
    assert isinstance(images.store, encoded.EncodedStore)
    held.most = 0
    (batch, _), *_ = training_batches(
        images.store, range(COUNT), [0.0] * COUNT, height=64, width=64, mode="crop", batch_size=COUNT, seed=0, epoch=0
    )
    assert batch.shape == (COUNT, 3, 64, 64)
    assert 0 < held.most <= LIMIT // SIDE**2
    held.most = 0
    clean_scores(create_model("hyperiqa", size="small"), images.store, images.table.assign(index=range(COUNT)))
    assert held.most <= 2


def test_nt_study_score(photographs: Path, held: Held, knee: Path) -> None:
    scores = reading.score(knee, [photographs])
    assert len([one for one in scores if one.score is not None]) == COUNT
    assert held.most <= 2


def test_the_batch_is_what_whole_images_give(photographs: Path, tmp_path: Path) -> None:
    """Mapped or decoded when read, cut or resized: the same batch."""
    for mode in ("crop", "resize"):
        batches = []
        for room in (None, 0):
            images = labelled.open_labelled(
                read_manifest, photographs / "ratings.csv", tmp_path / f"cache{room}", max_decoded_bytes=room
            )
            (batch, _), *_ = training_batches(
                images.store, range(4), [0.0] * 4, height=64, width=72, mode=mode, batch_size=4, seed=1, epoch=0
            )
            batches.append(batch.numpy())
        np.testing.assert_array_equal(batches[0], batches[1])


def test_parts_are_in_order_and_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "PIXELS_AT_A_TIME", 10)
    assert list(at_a_time([4, 4, 4, 25, 1, 9, 0])) == [[0, 1], [2], [3], [4, 5, 6]]
    monkeypatch.setattr(decode, "IMAGES_AT_A_TIME", 2)
    assert list(at_a_time([0, 0, 0])) == [[0, 1], [2]]
    assert list(at_a_time([])) == []
