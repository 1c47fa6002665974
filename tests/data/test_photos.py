"""The embedded set: real photographs with a stated licence, distortions that lower the score level by level."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data import open_dataset
from trainables.data.distortions import DISTORTIONS, NUM_LEVELS, distort
from trainables.data.image_set import ImageSet
from trainables.data.photos import MIN_ACTIVITY, OWN, PHOTOS, SIZES, activity, choose_patches, make_patches
from trainables.data.proxy_score import proxy_scores, similarities
from trainables.data.split import split_table
from trainables.data.store import MappedStore, Pixels


@pytest.fixture(scope="module")
def photos() -> ImageSet:
    return open_dataset("photos")


def test_the_mean_score_falls_over_the_levels_of_every_distortion(photos: ImageSet) -> None:
    means = photos.table[photos.table["level"] > 0].groupby(["distortion", "level"])["mos"].mean().unstack()
    assert means.shape == (8, NUM_LEVELS)
    assert (means.diff(axis=1).iloc[:, 1:] < -3).all().all()


def test_scores_use_the_scale_and_pristine_patches_have_100(photos: ImageSet) -> None:
    table = photos.table
    assert table["mos"].between(0, 100).all()
    assert (table.loc[table["level"] == 0, "mos"] == 100).all()
    assert table["mos"].std() > 15
    assert 0.4 < (table["mos"] > 50).mean() < 0.65  # both directions of an attack towards the middle are used


def test_the_given_split_keeps_photographs_apart(photos: ImageSet) -> None:
    rows = split_table(photos.table, seed=0)
    counts = rows["split"].value_counts()
    assert counts["train"] > 3000
    assert counts["validation"] >= 250
    assert counts["test"] >= 300
    assert rows.groupby("content")["split"].nunique().max() == 1
    assert rows.groupby("split")["content"].nunique().min() >= 4
    assert rows.groupby("sha256")["split"].nunique().max() == 1


def test_pixels_are_those_that_the_table_describes(photos: ImageSet) -> None:
    assert isinstance(photos.store, MappedStore)
    assert photos.table["image"].is_unique
    for i in range(0, len(photos.store), 500):
        assert photos.store[i].shape == (64, 64, 3)
        assert hashlib.sha256(photos.store[i].tobytes()).hexdigest() == photos.table["sha256"][i]


def test_the_same_seed_makes_the_same_bytes(photos: ImageSet) -> None:
    made = make_patches(SIZES[""])
    for expected in photos.table["sha256"][:300]:
        row, patch, _ = next(made)
        assert row["sha256"] == expected == hashlib.sha256(patch.tobytes()).hexdigest()


def test_it_is_made_once_with_a_manifest(photos: ImageSet) -> None:
    assert isinstance(photos.store, MappedStore)
    made = (photos.store.folder / "pixels.u8").stat().st_mtime_ns
    again = open_dataset("photos")
    assert again.fingerprint == photos.fingerprint
    assert (photos.store.folder / "pixels.u8").stat().st_mtime_ns == made
    manifest = json.loads((photos.store.folder / "manifest.json").read_text())
    assert "no human" in manifest["score"]
    assert {"pillow", "piq"} <= set(manifest["versions"])
    assert all(photo["licence"] and photo["author"] for photo in manifest["photos"])


def test_every_photograph_has_a_licence_that_allows_this_use() -> None:
    allowed = {"CC0 1.0", "CC BY 2.0", "CC BY 4.0", "public domain", "no known copyright restrictions"}
    assert {photo.licence for photo in PHOTOS} <= allowed
    assert all(photo.author for photo in PHOTOS)
    assert len({photo.name for photo in PHOTOS}) == len(PHOTOS) >= 15


def test_photographs_shipped_here_are_listed_with_their_licences() -> None:
    listed = (files("trainables.data") / "photographs" / "LICENSES.md").read_text()
    for photo in PHOTOS:
        if photo.package == OWN:
            line = next(line for line in listed.splitlines() if f"`{photo.file}`" in line)
            assert photo.licence in line
            assert photo.author in line


def test_the_small_set_is_a_quicker_version(photos: ImageSet) -> None:
    small = open_dataset("photos:small")
    assert small.spec == "photos:small"
    assert (small.table["split"] == "train").sum() < (photos.table["split"] == "train").sum() * 0.7
    assert small.fingerprint != photos.fingerprint
    with pytest.raises(ValueError, match=r"no data set 'photos:large'; the embedded sets are photos, photos:small"):
        open_dataset("photos:large")


@pytest.fixture(scope="module")
def patch() -> Pixels:
    return choose_patches(PHOTOS[0].read(), 3)[1]


@given(name=st.sampled_from(sorted(DISTORTIONS)), level=st.integers(1, NUM_LEVELS), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_distortion_keeps_shape_and_is_repeatable(patch: Pixels, name: str, level: int, seed: int) -> None:
    before = patch.copy()
    distorted = distort(patch, name, level, np.random.default_rng(seed))
    assert distorted.shape == patch.shape
    assert distorted.dtype == np.uint8
    assert np.array_equal(patch, before)
    assert not np.array_equal(distorted, patch)
    assert np.array_equal(distorted, distort(patch, name, level, np.random.default_rng(seed)))


def test_blurring_leaves_a_flat_patch_alone_and_flattens_others(patch: Pixels) -> None:
    rng = np.random.default_rng(0)
    flat = np.full((64, 64, 3), 120, dtype=np.uint8)
    assert np.array_equal(distort(flat, "gaussian_blur", 5, rng), flat)
    activities = [activity(distort(patch, "gaussian_blur", level, rng)) for level in (1, 3, 5)]
    assert activity(patch) > activities[0] > activities[1] > activities[2]


def test_chosen_patches_are_active_and_different() -> None:
    photo = PHOTOS[0].read()
    chosen = choose_patches(photo, 10)
    assert len({patch.tobytes() for patch in chosen}) == len(chosen) == 10
    assert all(activity(patch) > MIN_ACTIVITY for patch in chosen)
    assert len(choose_patches(photo, 10_000)) <= ((256 - 64) // 32 + 1) ** 2


def test_the_proxy_is_100_for_a_copy_and_the_training_parts_worst_is_0(patch: Pixels) -> None:
    noisy = distort(patch, "white_noise", 5, np.random.default_rng(0))
    noisier = distort(noisy, "white_noise", 5, np.random.default_rng(1))
    values = similarities([patch, noisy, noisier], [patch] * 3)
    assert values[0] == pytest.approx([1, 1], abs=1e-4)
    scores = proxy_scores(values, np.array([True, True, False]))
    assert scores[0] == pytest.approx(100, abs=0.1)
    assert 0 == scores[2] <= scores[1] < 5
