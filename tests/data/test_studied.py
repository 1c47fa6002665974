"""What a study keeps of a release before a trial begins, and what it refuses to go on with."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest
from release_fixtures import livec_labels, write_image, write_livec

from search_spaces.schema import load_study_file
from study.running import run
from study.storage.frozen import check_unchanged


def test_a_study_of_a_release_records_its_split_scale_and_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = livec_labels()
    has_extreme_score = labels["image"].isin(["673.JPG", "780.JPG"])
    labels = labels[has_extreme_score | (labels.index % 12 == 0)]
    release = write_livec(tmp_path / "release", labels, 64, 80)  # as large as the views that a study cuts
    broken, changed = labels["image"].iloc[3], labels["image"].iloc[5]
    (release / "Images" / broken).write_bytes(b"")
    monkeypatch.setattr(run, "start_ray", lambda *_: None)  # which nothing of this needs
    overrides = {"data": f"livec:{release}", "split": {"mode": "authors"}, "skip_unreadable": True}
    study_file = load_study_file("hyperiqa", preset="smoke", overrides=overrides)
    directory = run.prepare(tmp_path / "studies", "livec", study_file)

    rows = directory.read_split().set_index("image")
    authors_test = (files("trainables.data") / "livec_authors_test.txt").read_text().split()
    assert set(rows.index) == set(labels["image"]) - {broken}
    assert set(rows.index[rows["split"] == "test"]) == set(authors_test) & set(rows.index)
    assert set(rows["split"]) == {"train", "validation", "test"}
    data = directory.read_json("environment.json")["data"]
    assert (data["mos_minimum"], data["mos_maximum"]) == (3.42, 92.4319526627219)  # as in the supplement, S10
    assert rows.loc["673.JPG", "mos"] == 0
    assert rows.loc["780.JPG", "mos"] == 100
    pd.testing.assert_series_equal(
        rows["mos"],
        (rows["raw_mos"] - data["mos_minimum"]) / (data["mos_maximum"] - data["mos_minimum"]) * 100,
        check_names=False,
    )
    assert data["left_out"].keys() == {broken}
    assert len(data["fingerprint"]) == 64

    check_unchanged(directory)
    write_image(release / "Images" / changed, seed=99_999)
    with pytest.raises(ValueError, match=changed.replace(".", r"\.")):
        check_unchanged(directory)
