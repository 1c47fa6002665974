"""`check_dataset` counts what is there and says what is wrong, without stopping at it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from release_fixtures import write_image, write_manifest

from study.commands.data import check
from trainables.data.check import check_dataset, doubts


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Twelve labelled images: two are one file, one is wide, one grey, one cut short, one missing."""
    names = [f"{i}.png" for i in range(12)]
    path = write_manifest(tmp_path, pd.DataFrame({"image": names, "mos": np.arange(12) ** 2}))
    shutil.copy(tmp_path / "0.png", tmp_path / "7.png")
    write_image(tmp_path / "2.png", seed=2, width=40)
    write_image(tmp_path / "3.png", seed=3, mode="L")
    (tmp_path / "10.png").write_bytes((tmp_path / "10.png").read_bytes()[:60])
    (tmp_path / "11.png").unlink()
    return path


def test_everything_is_counted(manifest: Path, tmp_path: Path) -> None:
    found = check_dataset(f"csv:{manifest}", cache_dir=tmp_path / "cache")
    assert found["images"] == 10
    assert found["contents"] == 10
    assert (found["mos"]["minimum"], found["mos"]["maximum"], found["mos"]["mean"]) == (0, 81, 28.5)
    assert sum(found["mos"]["histogram"]["counts"]) == 10
    assert len(found["mos"]["histogram"]["edges"]) == 11
    assert found["sizes"] == {"12x16": 9, "12x40": 1}
    assert found["decoded_bytes"] == 9 * 12 * 16 * 3 + 12 * 40 * 3
    assert found["kept_decoded"] is True
    assert found["conversions"] == {"grey": 1}
    assert found["duplicates"] == [["0.png", "7.png"]]
    assert set(found["left_out"]) == {"10.png", "11.png"}
    assert sum(found["splits"]["images"].values()) == 10
    assert found["splits"]["mos_minimum"] < found["splits"]["mos_maximum"]
    assert found["splits"]["contents_on_two_sides"] == 0


def test_it_can_be_written_as_json(manifest: Path, tmp_path: Path) -> None:
    found = check_dataset(f"csv:{manifest}", cache_dir=tmp_path / "cache")
    assert json.loads(json.dumps(found)) == found


def test_a_set_too_small_to_split_is_still_described(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, pd.DataFrame({"image": ["0.png", "1.png"], "mos": [1, 2]}))
    found = check_dataset(f"csv:{path}", cache_dir=tmp_path / "cache")
    assert found["images"] == 2
    assert "2 different contents cannot be split" in found["splits"]["error"]


def test_a_given_split_that_leaks_is_reported(tmp_path: Path) -> None:
    rows = pd.DataFrame({"image": [f"{i}.png" for i in range(6)], "mos": range(6), "content": list("aabbcd")})
    rows["split"] = ["train", "test", "validation", "validation", "train", "test"]
    found = check_dataset(f"csv:{write_manifest(tmp_path, rows)}", cache_dir=tmp_path / "cache")
    assert found["splits"]["contents_on_two_sides"] == 1


def test_the_command_says_it_in_words_and_in_json(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(f"csv:{manifest}")
    said = capsys.readouterr().out
    for part in ("10 images of 10 contents", "scores 0 to 81, mean 28.5", "conversions: grey 1", "left out: "):
        assert part in said
    check(f"csv:{manifest}", as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["images"] == 10 and set(facts["left_out"]) == {"10.png", "11.png"}
    with_split = pd.read_csv(manifest).assign(split=["train"] * 6 + ["validation"] * 2 + ["test"] * 4)
    with_split.to_csv(manifest, index=False)
    check(f"csv:{manifest}", split="content")
    assert "contents_on_two_sides 0" in capsys.readouterr().out


def test_three_images_measure_nothing() -> None:
    rows = pd.DataFrame({"image": list("abc"), "sha256": list("abc"), "split": ["validation"] * 3})
    assert "on 3 validation images chance alone gives any SROCC" in doubts(rows, pd.Series([1.0, 2.0, 3.0]))
