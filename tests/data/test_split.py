"""Splits are disjoint, cover everything, keep a photograph on one side, and are the same for the same seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.split import SPLITS, MosScale, leak_groups, locate, split_table, verify_split


def table_of(contents: list[int], files: list[int] | None = None) -> pd.DataFrame:
    n = len(contents)
    return pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(n)],
            "mos": np.arange(n, dtype=float),
            "content": [f"c{content}" for content in contents],
            "sha256": [f"h{file}" for file in files or range(n)],
        }
    )


contents = st.lists(st.integers(0, 30), min_size=3, max_size=80).filter(lambda values: len(set(values)) >= 3)
fractions = st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8)).map(
    lambda parts: tuple(part / sum(parts) for part in parts)
)


@given(contents=contents, fractions=fractions, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_every_image_is_in_one_part_with_its_whole_content(
    contents: list[int], fractions: tuple[float, ...], seed: int
) -> None:
    table = table_of(contents)
    rows = split_table(table, seed=seed, fractions=fractions)
    assert rows["image"].tolist() == table["image"].tolist()
    assert rows["index"].tolist() == list(range(len(table)))
    assert set(rows["split"]) == set(SPLITS)
    assert rows.groupby("content")["split"].nunique().max() == 1
    num_contents = len(set(contents))
    for name, fraction in zip(SPLITS, fractions, strict=True):
        share = rows.loc[rows["split"] == name, "content"].nunique()
        assert abs(share - fraction * num_contents) <= 2


@given(contents=st.lists(st.integers(0, 15), min_size=10, max_size=60), data=st.data())
@settings(max_examples=40, deadline=None)
def test_copies_of_a_file_stay_together_however_they_are_named(contents: list[int], data: st.DataObject) -> None:
    files = data.draw(st.lists(st.integers(0, 25), min_size=len(contents), max_size=len(contents)))
    table = table_of(contents, files)
    if len(np.unique(leak_groups(table))) < 3:
        with pytest.raises(ValueError, match="cannot be split"):
            split_table(table, seed=0)
        return
    rows = split_table(table, seed=0)
    assert rows.groupby("sha256")["split"].nunique().max() == 1
    assert rows.groupby("content")["split"].nunique().max() == 1


def test_groups_join_through_others() -> None:
    """a and c share nothing, but b has a's content and c's file."""
    groups = leak_groups(table_of([1, 1, 2, 3], files=[7, 8, 8, 9]))
    assert groups[0] == groups[1] == groups[2] != groups[3]


def test_the_seed_decides() -> None:
    table = table_of(list(range(50)))
    assert split_table(table, seed=5).equals(split_table(table, seed=5))
    assert not split_table(table, seed=5).equals(split_table(table, seed=6))
    assert split_table(table, seed=5)["split"].value_counts().to_dict() == {"train": 30, "validation": 10, "test": 10}
    expected = "train train train train validation train train validation validation train"
    assert split_table(table, seed=5)["split"].head(10).tolist() == expected.split()


def test_validation_is_carved_out_of_a_given_training_part() -> None:
    given_split = ["train"] * 40 + ["test"] * 10
    rows = split_table(table_of(list(range(50))).assign(split=given_split), seed=1, fractions=(0.6, 0.2, 0.2))
    assert (rows["split"] == "test").tolist() == [False] * 40 + [True] * 10
    assert (rows["split"] == "validation").sum() == 10
    authors = table_of(list(range(50))).assign(split_authors=given_split)
    assert split_table(authors, seed=1, mode="authors")["split"].equals(rows["split"])


def test_a_complete_given_split_is_kept() -> None:
    given_split = ["train", "validation", "test"] * 4
    rows = split_table(table_of(list(range(12))).assign(split=given_split), seed=1)
    assert rows["split"].tolist() == given_split


def test_mos_scale_is_the_training_parts_range() -> None:
    table = pd.DataFrame({"mos": [2.0, 4.0, 8.0, 1.0], "split": ["train", "train", "validation", "test"]})
    scale = MosScale.of_training(table)
    assert scale == MosScale(minimum=2, maximum=8)
    assert scale.normalise(table["mos"].to_numpy()).tolist() == pytest.approx([0, 100 / 3, 100, -100 / 6])
    with pytest.raises(ValueError, match="span no range"):
        MosScale(minimum=3, maximum=3)


def test_a_recorded_split_is_verified() -> None:
    table = table_of(list(range(10)))
    recorded = split_table(table, seed=0)
    verify_split(recorded, table, spec="csv:x")
    verify_split(recorded, table.assign(mos=table["mos"] + 0.01), spec="csv:x")
    with pytest.raises(ValueError, match=r"csv:x has gained or lost 1 images .* 9\.png"):
        verify_split(recorded, table.head(9), spec="csv:x")
    with pytest.raises(ValueError, match=r"another sha256 for 3\.png than when"):
        verify_split(recorded, table.assign(sha256=table["sha256"].replace("h3", "other")), spec="csv:x")
    with pytest.raises(ValueError, match=r"another mos for 0\.png and 9 more"):
        verify_split(recorded, table.assign(mos=table["mos"] + 1), spec="csv:x")


@given(order=st.permutations(range(8)))
def test_images_are_found_by_their_files_wherever_they_lie(order: list[int]) -> None:
    table = table_of([0, 1, 2, 3, 4, 5, 6, 7])
    recorded = split_table(table, seed=0)
    elsewhere = pd.concat([table_of([9]).assign(sha256="other"), table.iloc[order]], ignore_index=True)
    found = locate(recorded, elsewhere, spec="set")
    assert elsewhere["sha256"].iloc[found["index"]].tolist() == recorded["sha256"].tolist()
    assert found.drop(columns="index").equals(recorded.drop(columns="index"))


def test_an_image_that_is_missing_or_another_is_named() -> None:
    table = table_of([0, 1, 2, 3])
    recorded = split_table(table, seed=0)
    for other in (table.drop(index=2), table.assign(sha256=table["sha256"].replace("h2", "changed"))):
        with pytest.raises(ValueError, match=r"set as this machine has it lacks 1 of the images.*2\.png"):
            locate(recorded, other, spec="set")
