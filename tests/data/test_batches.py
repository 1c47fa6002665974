"""An epoch's batches hold every image as often as asked, in [0, 1], and are the same wherever they are made."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.batches import training_batches
from trainables.data.store import MappedStore, Pixels, build_store
from trainables.seeding import derive_seed, torch_generator


def numbered(count: int, height: int, width: int) -> list[Pixels]:
    """Image i has the value i in red and its own coordinates in green (row) and blue (column)."""
    rows, columns = np.mgrid[:height, :width]
    return [np.stack([np.full_like(rows, i), rows, columns], axis=2).astype(np.uint8) for i in range(count)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MappedStore:
    return build_store(tmp_path_factory.mktemp("batches") / "s", numbered(20, 12, 16))


@pytest.fixture(scope="module")
def ragged(tmp_path_factory: pytest.TempPathFactory) -> MappedStore:
    images = numbered(6, 12, 16)[:3] + numbered(6, 15, 9)[3:]
    return build_store(tmp_path_factory.mktemp("ragged") / "s", images)


def epoch_of(store: MappedStore, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
    settings = {"height": 12, "width": 16, "mode": "crop", "batch_size": 6, "seed": 0, "epoch": 0} | options
    indices = np.arange(len(store))
    batches = list(training_batches(store, indices, indices * 10.0, **settings))  # type: ignore[arg-type]
    return torch.cat([images for images, _ in batches]), torch.cat([targets for _, targets in batches])


@given(
    batch_size=st.integers(1, 20),
    crops=st.integers(1, 3),
    drop_last=st.booleans(),
    mode=st.sampled_from(["crop", "resize"]),
)
@settings(max_examples=25, deadline=None)
def test_every_image_comes_as_often_as_asked_with_its_own_target(
    store: MappedStore, batch_size: int, crops: int, drop_last: bool, mode: str
) -> None:
    options = {"batch_size": batch_size, "crops_per_image": crops, "drop_last": drop_last, "mode": mode}
    images, targets = epoch_of(store, **options)
    views = 20 * crops
    assert len(images) == (views // batch_size * batch_size if drop_last else views)
    red = (images[:, 0] * 255).round()
    assert torch.equal(red.amax((1, 2)), targets / 10)
    if not drop_last:
        assert torch.bincount(targets.long() // 10).tolist() == [crops] * 20


def test_images_are_contiguous_float_in_unit_range(store: MappedStore) -> None:
    images, targets = next(
        iter(training_batches(store, [3, 4], [1, 2], height=12, width=16, mode="crop", batch_size=2, seed=0, epoch=0))
    )
    assert images.dtype == targets.dtype == torch.float32
    assert images.is_contiguous()
    assert images.max() <= 1
    assert torch.equal((images[:, 1, :, 0] * 255).round(), torch.arange(12.0).expand(2, 12))


def test_crops_are_windows_inside_the_image(ragged: MappedStore) -> None:
    images, targets = epoch_of(ragged, height=8, width=7, crops_per_image=40, augment="none")
    rows, columns = (images[:, 1] * 255).round(), (images[:, 2] * 255).round()
    assert torch.equal(rows[:, 1:] - rows[:, :-1], torch.ones(240, 7, 7))
    assert torch.equal(columns[:, :, 1:] - columns[:, :, :-1], torch.ones(240, 8, 6))
    is_wide = targets < 30
    for is_kind, height, width in ((is_wide, 12, 16), (~is_wide, 15, 9)):
        tops, lefts = rows[is_kind, 0, 0], columns[is_kind, 0, 0]
        assert (tops.min(), tops.max()) == (0, height - 8)
        assert (lefts.min(), lefts.max()) == (0, width - 7)


def test_about_half_of_the_views_are_mirrored(store: MappedStore) -> None:
    images, _ = epoch_of(store, crops_per_image=20)
    is_mirrored = images[:, 2, 0, 0] > images[:, 2, 0, -1]
    assert 0.4 < is_mirrored.float().mean() < 0.6
    assert (images[is_mirrored].flip(3)[:, 1:] == images[~is_mirrored][0, 1:]).all()
    images, _ = epoch_of(store, crops_per_image=20, augment="none")
    assert (images[:, 2, 0, 0] < images[:, 2, 0, -1]).all()


def test_seven_of_ten_views_are_turned_upside_down_as_in_maniqas_release(store: MappedStore) -> None:
    straight, _ = epoch_of(store, crops_per_image=40, augment="none")
    images, _ = epoch_of(store, crops_per_image=40, augment="upside_down")
    is_turned = (images != straight).flatten(1).any(1)
    assert torch.equal(images[is_turned], straight[is_turned].flip(2))
    assert 0.6 < is_turned.float().mean() < 0.8


def test_square_views_are_turned_in_all_eight_ways(store: MappedStore) -> None:
    images, _ = epoch_of(store, height=12, width=12, crops_per_image=40, augment="dihedral")
    green, blue = images[:, 1] - images[:, 1, :1, :1], images[:, 2] - images[:, 2, :1, :1]
    ways = {
        (bool(g[0, -1] != 0), float(g[-1, -1].sign()), float(b[-1, -1].sign()))
        for g, b in zip(green, blue, strict=True)
    }
    assert len(ways) == 8
    images, targets = epoch_of(store, crops_per_image=20, augment="dihedral")
    assert torch.equal((images[:, 0] * 255).round().amax((1, 2)), targets / 10)
    assert (images[:, 1, 0, 0] == images[:, 1, 0, -1]).all()  # oblong views keep their rows


def test_resizing_takes_the_whole_image(ragged: MappedStore) -> None:
    images, targets = epoch_of(ragged, height=6, width=8, mode="resize", augment="none")
    assert images.shape == (6, 3, 6, 8)
    wide = images[targets == 0][0, 1] * 255
    assert wide[:, 0].tolist() == pytest.approx([0.5, 2.5, 4.5, 6.5, 8.5, 10.5], abs=0.75)


def test_epochs_and_seeds_differ_and_repeat(store: MappedStore) -> None:
    first, _ = epoch_of(store)
    assert torch.equal(first, epoch_of(store)[0])
    assert torch.equal(first, epoch_of(store, batch_size=4)[0])
    assert not torch.equal(first, epoch_of(store, epoch=1)[0])
    assert not torch.equal(first, epoch_of(store, seed=1)[0])


DIGEST_IN_ANOTHER_PROCESS = """
import hashlib, sys
from trainables.data.batches import training_batches
from trainables.data.store import MappedStore
import torch
torch.set_num_threads(int(sys.argv[2]))
digest = hashlib.sha256()
for images, targets in training_batches(MappedStore(sys.argv[1]), list(range(6)), [0.0] * 6, height=8, width=7,
        mode="crop", batch_size=4, seed=11, epoch=2, crops_per_image=3):
    digest.update(images.numpy().tobytes() + targets.numpy().tobytes())
print(digest.hexdigest())
"""


def test_another_process_makes_the_same_batches(ragged: MappedStore) -> None:
    command = [sys.executable, "-c", DIGEST_IN_ANOTHER_PROCESS, str(ragged.folder), "2"]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    digest = hashlib.sha256()
    batches = training_batches(
        ragged,
        list(range(6)),
        [0.0] * 6,
        height=8,
        width=7,
        mode="crop",
        batch_size=4,
        seed=11,
        epoch=2,
        crops_per_image=3,
    )
    for images, targets in batches:
        digest.update(images.numpy().tobytes() + targets.numpy().tobytes())
    assert digest.hexdigest() == other


def test_what_cannot_be_cropped_or_matched_is_refused(store: MappedStore) -> None:
    with pytest.raises(ValueError, match="12x16 pixels is too small for 13x16 crops"):
        epoch_of(store, height=13)
    options = {"height": 12, "width": 16, "batch_size": 2, "seed": 0, "epoch": 0}
    with pytest.raises(ValueError, match="as many targets as images"):
        next(iter(training_batches(store, [0, 1], [1.0], mode="crop", **options)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one at least"):
        next(iter(training_batches(store, [], [], mode="crop", **options)))  # type: ignore[arg-type]


def test_seeds_are_stable_and_independent() -> None:
    assert derive_seed(0, "batches", 3) == 4060044875
    names: list[tuple[str | int, ...]] = [(), ("a",), ("b",), ("a", "b"), ("a/b",), (1,), ("1",), ("a", 1), ("a", 2)]
    seeds = {derive_seed(seed, *name) for seed in range(3) for name in names}
    assert len(seeds) == 3 * len(names)
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert torch.equal(
        torch.rand(3, generator=torch_generator(7, "x")), torch.rand(3, generator=torch_generator(7, "x"))
    )
