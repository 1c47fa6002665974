"""One copy of the pixels per node: what goes into a store comes out, whole, in every process."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from release_fixtures import write_manifest

from trainables.data import open_dataset
from trainables.data.cache import build_once
from trainables.data.encoded import EncodedStore
from trainables.data.labelled import open_labelled
from trainables.data.manifest import read_manifest
from trainables.data.store import MappedStore, Pixels, build_store
from trainables.files import default_cache_dir

sizes = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6)


def images_of(sizes: list[tuple[int, int]], seed: int = 0) -> list[Pixels]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]


@given(sizes=sizes)
@settings(max_examples=30, deadline=None)
def test_images_come_back_as_they_were(sizes: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    images = images_of(sizes)
    store = build_store(tmp_path_factory.mktemp("store") / "s", images)
    assert len(store) == len(images)
    assert store.sizes.tolist() == [list(size) for size in sizes]
    for i, image in enumerate(images):
        assert np.array_equal(store[i], image)
    reopened = pickle.loads(pickle.dumps(store))  # noqa: S301
    assert np.array_equal(reopened[len(images) - 1], images[-1])


def test_a_batch_is_the_images_in_the_order_asked_for(tmp_path: Path) -> None:
    images = images_of([(4, 6)] * 5)
    batch = build_store(tmp_path / "s", images).batch([3, 0, 3])
    assert batch.shape == (3, 3, 4, 6)
    assert batch.dtype == torch.uint8
    assert np.array_equal(batch.permute(0, 2, 3, 1).numpy(), np.stack([images[3], images[0], images[3]]))


def test_images_of_different_sizes_make_no_batch(tmp_path: Path) -> None:
    store = build_store(tmp_path / "s", images_of([(4, 6), (4, 6), (5, 6)]))
    assert store.batch([0, 1]).shape == (2, 3, 4, 6)
    with pytest.raises(ValueError, match=r"different sizes \[\(4, 6\), \(5, 6\)\]"):
        store.batch([1, 2])


def test_a_store_is_read_only(tmp_path: Path) -> None:
    store = build_store(tmp_path / "s", images_of([(4, 6)]))
    with pytest.raises(ValueError, match="read-only"):
        store[0][0, 0, 0] = 1


def test_a_store_cut_short_is_refused(tmp_path: Path) -> None:
    build_store(tmp_path / "s", images_of([(4, 6)] * 3))
    with (tmp_path / "s" / "pixels.u8").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(ValueError, match=r"pixels\.u8 has 100 bytes, not 216; delete"):
        MappedStore(tmp_path / "s")


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"image 0 is float64 \(2, 2, 3\)"):
        build_store(tmp_path / "s", [np.zeros((2, 2, 3))])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="no images to store"):
        build_store(tmp_path / "s", [])
    assert not (tmp_path / "s").exists()


def test_a_store_is_built_once(tmp_path: Path) -> None:
    build_store(tmp_path / "s", images_of([(4, 6)], seed=1))
    again = build_store(tmp_path / "s", images_of([(4, 6)], seed=2))
    assert np.array_equal(again[0], images_of([(4, 6)], seed=1)[0])


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def images() -> Iterator[Pixels]:
        yield from images_of([(4, 6)] * 3)
        raise RuntimeError("out of photographs")

    with pytest.raises(RuntimeError, match="out of photographs"):
        build_store(tmp_path / "s", images())
    assert [path.name for path in tmp_path.iterdir()] == ["s.lock"]
    assert len(build_store(tmp_path / "s", images_of([(4, 6)]))) == 1


def build_forever(folder: Path) -> None:
    def write(part: Path) -> None:
        (part / "half").write_text("x")
        time.sleep(600)

    build_once(folder, write)


def test_a_killed_build_leaves_nothing_that_looks_whole_and_blocks_nobody(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=build_forever, args=(tmp_path / "s",))
    process.start()
    while not (tmp_path / "s.part" / "half").exists():
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not (tmp_path / "s").exists()
    build_once(tmp_path / "s", lambda part: (part / "whole").touch())
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["whole"]


def build_and_note(folder: Path, notes: Path) -> None:
    def write(part: Path) -> None:
        (notes / str(os.getpid())).touch()
        time.sleep(0.3)
        (part / "data").write_text("whole")

    assert (build_once(folder, write) / "data").read_text() == "whole"


def test_of_processes_that_build_at_once_one_does(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=build_and_note, args=(tmp_path / "s", notes)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(list(notes.iterdir())) == 1


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "nt-study"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "nt-study"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    names = [f"{i}.png" for i in range(5)]
    return write_manifest(tmp_path, pd.DataFrame({"image": names, "mos": range(5)}))


def test_a_set_larger_than_its_budget_is_read_from_its_files(manifest: Path, tmp_path: Path) -> None:
    decoded = open_labelled(read_manifest, manifest, tmp_path / "cache")
    encoded = open_labelled(read_manifest, manifest, tmp_path / "cache", max_decoded_bytes=100)
    assert isinstance(decoded.store, MappedStore)
    assert isinstance(encoded.store, EncodedStore)
    assert not (encoded.store.folder / "pixels.u8").exists()
    assert encoded.table.equals(decoded.table)
    assert encoded.fingerprint == decoded.fingerprint
    assert torch.equal(encoded.store.batch([4, 1]), decoded.store.batch([4, 1]))
    assert np.array_equal(pickle.loads(pickle.dumps(encoded.store))[2], decoded.store[2])  # noqa: S301
    (tmp_path / "3.png").unlink()
    with pytest.raises(ValueError, match=r"3\.png cannot be read any more"):
        encoded.store[3]


def test_a_changed_file_is_decoded_again(manifest: Path, tmp_path: Path) -> None:
    before = open_dataset(f"csv:{manifest}", cache_dir=tmp_path / "cache")
    (tmp_path / "0.png").write_bytes((tmp_path / "1.png").read_bytes())
    os.utime(tmp_path / "0.png", ns=(1, 1))
    after = open_dataset(f"csv:{manifest}", cache_dir=tmp_path / "cache")
    assert np.array_equal(after.store[0], before.store[1])
    assert after.fingerprint != before.fingerprint
