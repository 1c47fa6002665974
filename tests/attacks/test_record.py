"""The score table is kept whole, and every metric comes from it."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainables import metrics
from trainables.objectives import OBJECTIVES, measure, objective, worst_case
from trainables.record import SCHEMA, read_scores, write_scores


def made_up_scores(attacks: dict[str, float], splits: tuple[str, ...] = ("test",), count: int = 9) -> pd.DataFrame:
    """A score table in which each attack changes scores by up to its own number of points."""
    random = np.random.default_rng(7)
    parts = []
    for split in splits:
        mos = random.uniform(0, 100, count)
        clean = mos + random.normal(0, 5, count)
        for attack, strength in attacks.items():
            parts.append(
                pd.DataFrame(
                    {
                        "image": [f"{split}{i}" for i in range(count)],
                        "content": "photo",
                        "split": split,
                        "mos": mos,
                        "attack": attack,
                        "clean_score": clean,
                        "attacked_score": clean + strength * random.uniform(0.5, 1, count),
                        "attacked_score_8bit": np.nan,
                        "max_delta": 0.005,
                        "ssim": 0.99,
                        "psnr": 46.0,
                        "seconds": 0.01,
                        "gradient_l1": random.uniform(100, 200, count),
                        "linear_change": strength,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


SCORES = made_up_scores({"fgsm": 10.0, "uap": -3.0, "noise": 0.1}, ("validation", "test"))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trial" / "scores.parquet"
    write_scores(path, SCORES, {"trial": "t003", "seed": "5"})
    found = read_scores(path)
    pd.testing.assert_frame_equal(found, SCORES, check_dtype=False)
    assert found.attrs == {"trial": "t003", "seed": "5"}
    assert list(tmp_path.rglob("*")) == [path.parent, path]
    buffer = io.BytesIO()
    write_scores(buffer, SCORES, {})
    buffer.seek(0)
    pd.testing.assert_frame_equal(read_scores(buffer), found)


def test_columns_have_the_schemas_types_in_the_file(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.parquet", SCORES[SCHEMA.names[::-1]], {})
    assert pq.read_schema(tmp_path / "scores.parquet").remove_metadata().equals(SCHEMA.remove_metadata())


def test_a_table_of_an_older_version_lacks_what_came_later(tmp_path: Path) -> None:
    older = SCORES.drop(columns=["psnr", "linear_change"])
    metadata = {"nt_study_scores_version": "2"}
    pq.write_table(
        pa.Table.from_pandas(older, preserve_index=False).replace_schema_metadata(metadata), tmp_path / "2.parquet"
    )
    found = read_scores(tmp_path / "2.parquet")
    assert list(found.columns) == SCHEMA.names and found[["psnr", "linear_change"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(found[older.columns], older, check_dtype=False)
    write_scores(tmp_path / "3.parquet", pd.concat([found, SCORES]), {})
    assert read_scores(tmp_path / "3.parquet")["psnr"].notna().sum() == len(SCORES)


def test_a_failed_write_leaves_the_old_table(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    write_scores(path, SCORES, {"trial": "old"})
    with pytest.raises(ValueError, match="schema"):
        write_scores(path, SCORES.assign(mos="high"), {})
    assert read_scores(path).attrs == {"trial": "old"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (SCORES.drop(columns=["ssim", "mos"]), "lacks mos, ssim"),
        (SCORES.assign(mood=1), "unknown mood"),
        (SCORES.assign(clean_score=math.nan), "schema"),
    ],
)
def test_other_frames_are_not_written(frame: pd.DataFrame, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write_scores(tmp_path / "scores.parquet", frame, {})


def test_other_files_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    with pytest.raises(ValueError, match="cannot be read"):
        read_scores(path)
    path.write_bytes(b"no parquet at all")
    with pytest.raises(ValueError, match="cannot be read"):
        read_scores(path)
    table = pa.Table.from_pandas(SCORES, preserve_index=False)
    pq.write_table(table.replace_schema_metadata({}), path)
    with pytest.raises(ValueError, match="version none"):
        read_scores(path)
    pq.write_table(table.replace_schema_metadata({"nt_study_scores_version": "99"}), path)
    with pytest.raises(ValueError, match=r"version 99, this program reads versions 1 to 3"):
        read_scores(path)
    pq.write_table(table.drop(["attack"]).replace_schema_metadata(SCHEMA.metadata), path)
    with pytest.raises(ValueError, match="lacks attack"):
        read_scores(path)


def test_metrics_compare_what_their_names_say() -> None:
    found = measure(SCORES, "test")
    rows = SCORES[(SCORES["split"] == "test") & (SCORES["attack"] == "fgsm")]
    mos, clean, attacked = rows["mos"], rows["clean_score"], rows["attacked_score"]
    assert found["srocc"] == metrics.srocc(mos, clean)
    assert found["rmse"] == metrics.rmse(mos, clean)
    assert found["rmse_attacked"] == metrics.rmse(clean, attacked)
    assert found["r_robustness"] == metrics.r_robustness(clean, attacked) != metrics.r_robustness(attacked, clean)
    assert found["plcc_mos_attacked"] == metrics.plcc(mos, attacked)
    assert found["absolute_gain"] == pytest.approx((attacked - clean).mean())
    assert found["relative_gain"] == metrics.relative_gain(clean, attacked)
    assert found["robustness_score"] == metrics.robustness_score(clean, attacked)
    assert (found["ssim"], found["psnr"]) == pytest.approx((0.99, 46.0))
    assert found["mean_abs_change"] == pytest.approx((attacked - clean).abs().mean())
    assert found["gradient_l1"] == pytest.approx(rows["gradient_l1"].mean())
    assert set(OBJECTIVES) <= set(found)


def test_other_attacks_are_named_by_a_suffix() -> None:
    found, of_uap = measure(SCORES, "test"), measure(SCORES, "test", "uap")
    assert (
        found["rmse_attacked/uap"] == of_uap["rmse_attacked"] < found["rmse_attacked"] == of_uap["rmse_attacked/fgsm"]
    )
    assert found["rmse_attacked_worst"] == of_uap["rmse_attacked_worst"] == found["rmse_attacked"]
    for name in found:
        assert objective(name).name == name
    assert found["srocc"] == of_uap["srocc"]


def test_the_worst_case_is_taken_image_by_image() -> None:
    """Two attacks that each move another image: together they are worse than either."""
    table = made_up_scores({"fgsm": 0.0, "down": 0.0, "eps_check": 50.0}, ("test",), count=4)
    for label, image, change in (("fgsm", "test0", 6.0), ("down", "test1", -8.0), ("down", "test0", 5.0)):
        is_it = (table["attack"] == label) & (table["image"] == image)
        table.loc[is_it, "attacked_score"] = table.loc[is_it, "clean_score"] + change
    worst = worst_case(table, "test")
    assert worst.rmse_attacked == pytest.approx(math.sqrt((6**2 + 8**2) / 4))
    assert worst.shares == {"fgsm": 0.75, "down": 0.25}, "images that nothing moves fall to the first"
    assert str(worst) == "worst of 2 attacks for each image: RMSE 5.000 (fgsm 75%, down 25%)"
    assert (
        measure(table, "test")["rmse_attacked_worst"] == worst.rmse_attacked > measure(table, "test")["rmse_attacked"]
    )
    assert measure(table, "test", worst_of=["fgsm"])["rmse_attacked_worst"] == pytest.approx(math.sqrt(6**2 / 4))
    with pytest.raises(ValueError, match="no rows of split 'test' and any of kor"):
        worst_case(table, "test", over=["kor"])


def test_splits_are_kept_apart() -> None:
    alone = SCORES[SCORES["split"] == "validation"]
    assert measure(SCORES, "validation") == measure(alone, "validation")
    with pytest.raises(ValueError, match="split 'test' and attack 'fgsm'"):
        measure(alone, "test")
    with pytest.raises(ValueError, match="attack 'kor'"):
        measure(alone, "validation", "kor")


def test_directions() -> None:
    weaker, stronger = (measure(made_up_scores({"fgsm": points}), "test") for points in (1.0, 30.0))
    for name, declared in OBJECTIVES.items():
        if name in ("rmse_attacked", "r_robustness", "mean_abs_change", "rmse_attacked_worst"):
            improves = weaker[name] > stronger[name]
            assert improves == (declared.direction == "maximize"), name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("rmse_atacked", "did you mean 'rmse_attacked'"),
        ("srocc/uap", "srocc_attacked"),
        ("rmse_attacked_worst/uap", "rmse_attacked"),
        ("speed", "there are srocc"),
    ],
)
def test_unknown_objectives_are_refused(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        objective(name)


def test_constant_scores_have_no_correlation_and_do_not_raise() -> None:
    found = measure(SCORES.assign(clean_score=50.0, attacked_score=50.0), "test")
    assert math.isnan(found["srocc"])
    assert math.isnan(found["krocc_attacked"])
    assert found["rmse_attacked"] == 0
    assert found["r_robustness"] == math.inf
