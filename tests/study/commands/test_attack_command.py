"""`nt-study attack` on trials, exports and published checkpoints, with the paper's metrics."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import run_here
from PIL import Image
from written_study import write_study

from study.commands.attack import _divided
from study.errors import StudyError
from study.export.seen import Seen
from study.export.writing import export
from study.storage.directory import StudyDirectory
from trainables.attacks.uap import save_perturbation
from trainables.data.image_set import ImageSet
from trainables.data.split import split_table
from trainables.metrics import rmse, srocc
from trainables.models import create_model
from trainables.record import read_scores
from trainables.seeding import derive_seed

PARTS = ["train"] * 8 + ["validation"] * 3 + ["test"] * 5


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen blurred-noise images of 64x64 with scores of 1..5 and a split of their own."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    rows = pd.DataFrame({"image": [f"{i}.png" for i in range(16)], "mos": np.linspace(1, 5, 16), "split": PARTS})
    for image in rows["image"]:
        small = Image.fromarray(generator.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        small.resize((64, 64), Image.Resampling.BICUBIC).save(folder / image)
    rows.to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def test_a_defence_before_a_model_is_attacked_by_who_knows_it(
    smoke_study: StudyDirectory, manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("attack", smoke_study.trial("t000"), "--data", f"csv:{manifest}", "--attacks", "fgsm", "--defence")
    code, said, error = run_here(monkeypatch, capsys, *command, "resize:factor=0.5", "--json")
    assert code == 0, error
    facts = json.loads(said)
    aware, unaware = facts["attacks"]["fgsm"], facts["no_result"]["attacks"]["fgsm"]
    assert aware["rmse"] == unaware["rmse"], "the defended clean scores are the same"
    assert aware["rmse_attacked"] != unaware["rmse_attacked"]
    code, said, error = run_here(
        monkeypatch, capsys, *command, "median_smoothing:sigma=0.1:draws=3", "--radius", "0.02"
    )
    assert code == 0, error
    assert "(fgsm)" in said and "no results" in said and "certificate: within L2 distance 0.02" in said
    code, said, error = run_here(monkeypatch, capsys, *command, "jpeg", "--radius", "0.02")
    assert code == 2 and "add --defence median_smoothing" in error


def test_a_certificate_is_made_of_files_with_any_name(
    smoke_study: StudyDirectory,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From another folder, by relative paths with spaces, brackets and an umlaut; a wider radius certifies less."""
    folder = tmp_path / "Über [a] b"
    shutil.copytree(manifest.parent, folder / "Bilder [1] ö")
    shutil.copytree(smoke_study.trial("t000"), folder / "Mödel [2] ä")
    monkeypatch.chdir(folder)
    what = ("attack", "Mödel [2] ä", "--data", "csv:Bilder [1] ö/manifest.csv", "--part", "validation")
    command = (*what, "--attacks", "fgsm", "--defence", "median_smoothing:draws=3:sigma=0.1")
    changes = {}
    for radius in ("0.02", "0.05"):
        code, said, error = run_here(monkeypatch, capsys, *command, "--radius", radius, "--json")
        assert code == 0, error
        certificate = json.loads(said)["certificate"]
        assert certificate["radius"] == float(radius) and certificate["images"] == certificate["finite"] == 3
        assert certificate["linf"] == pytest.approx(float(radius) / (3 * 64 * 64) ** 0.5)
        changes[radius] = certificate["mean_change"]
    assert 0 < changes["0.02"] < changes["0.05"]
    code, said, error = run_here(monkeypatch, capsys, *command, "--out", "Aus [3]/ü.parquet")
    assert code == 0, error
    assert "certificate" not in said and read_scores(folder / "Aus [3]" / "ü.parquet")["image"].nunique() == 3
    assert "Mödel [2] ä behind" in said and "csv:Bilder [1] ö" in said
    for arguments in (("--radius", "-1"), ("--radius", "near")):
        code, _, error = run_here(monkeypatch, capsys, *command, *arguments)
        assert code == 2 and "--radius" in error


def test_a_trial_and_its_export_are_attacked_alike(
    smoke_study: StudyDirectory,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder,) = export(smoke_study, "t000", tmp_path / "export")
    save_perturbation(tmp_path / "uap.png", 0.1 * torch.sin(torch.arange(3 * 64 * 64.0)).view(3, 64, 64))
    attacks = "fgsm,ifgsm:steps=3:alpha=0.001,transfer,rank:steps=2:reference=mos,mad:steps=2,"
    attacks += f"uap:perturbation={tmp_path / 'uap.png'},kor"
    found = []
    for checkpoint in (folder, smoke_study.trial("t000")):
        code, said, error = run_here(
            monkeypatch,
            capsys,
            *("attack", checkpoint, "--data", f"csv:{manifest}", "--attacks", attacks, "--json"),
            *("--baseline", smoke_study.trial("baseline"), "--out", tmp_path / "scores.parquet"),
        )
        assert code == 0, error
        found.append(json.loads(said))
    exported, of_trial = found
    assert exported["attacks"] == of_trial["attacks"]
    assert list(exported["attacks"]) == ["fgsm", "ifgsm", "transfer", "rank", "mad", "uap", "kor"]
    table = read_scores(tmp_path / "scores.parquet")
    assert set(table["image"]) == {f"{i}.png" for i in range(11, 16)}
    rows = table[table["attack"] == "fgsm"]
    mos, clean, attacked = (rows[name].to_numpy() for name in ("mos", "clean_score", "attacked_score"))
    np.testing.assert_allclose(mos, np.arange(11, 16) / 10 * 100)  # 0 and 100 are the training part's extremes
    expected = {
        "rmse": rmse(mos, clean),
        "rmse_mos_attacked": rmse(mos, attacked),
        "rmse_attacked": rmse(clean, attacked),
        "srocc": srocc(mos, clean),
    }
    assert {name: exported["attacks"]["fgsm"][name] for name in expected} == pytest.approx(expected)


def test_a_trial_and_its_export_are_attacked_on_what_their_study_kept_for_the_end(
    smoke_study: StudyDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = export(smoke_study, "t000", tmp_path / "export")
    recorded = read_scores(smoke_study.trial("t000") / "scores.parquet")
    expected = recorded[(recorded["split"] == "test") & (recorded["attack"] == "fgsm")].set_index("image")
    for checkpoint in (folder, smoke_study.trial("t000")):
        out = tmp_path / "not" / "there yet" / "scores.parquet"
        code, _, error = run_here(monkeypatch, capsys, "attack", checkpoint, "--attacks", "fgsm", "--out", out)
        assert code == 0, error
        found = read_scores(out).set_index("image").loc[expected.index]
        np.testing.assert_allclose(found["mos"], expected["mos"])
        np.testing.assert_allclose(found["attacked_score"], expected["attacked_score"], atol=1e-3)
    code, _, error = run_here(monkeypatch, capsys, "attack", folder, "--split", "content")
    assert code == 2 and "the model's study has split photos:small already; drop --split" in error


def test_images_of_a_model_s_study_keep_their_parts_whatever_the_seed() -> None:
    """The set has no split of its own, so that another seed draws another one."""
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(40)], "mos": np.arange(40.0)})
    table = table.assign(content=table["image"], sha256=[f"h{i}" for i in range(40)])

    def images_of(table: pd.DataFrame) -> ImageSet:
        store = [np.zeros((1, 1, 3), np.uint8)] * len(table)
        return ImageSet(name="csv", spec="csv:set", table=table, store=store, score_kind="")  # type: ignore[arg-type]

    study = split_table(table, seed=derive_seed(3, "split")).assign(mos=np.linspace(0, 100, 40))
    seen = Seen(data="csv:set", split=study)
    kept = _divided(images_of(table.iloc[::-1].reset_index(drop=True)), seen, None, seed=4)
    pd.testing.assert_frame_equal(kept.drop(columns="index"), study.drop(columns="index"))
    assert kept["index"].tolist() == list(range(39, -1, -1))
    drawn = _divided(images_of(table), None, None, seed=3)
    assert drawn["split"].tolist() == study["split"].tolist(), "as a study with this seed would"
    others = table.assign(sha256=[f"other{i}" for i in range(40)])
    assert _divided(images_of(others), seen, None, seed=4)["mos"].max() > 90
    with pytest.raises(StudyError, match="20 images of csv:set are of the study that the model is from and 20 are not"):
        _divided(images_of(pd.concat([table[:20], others[20:]], ignore_index=True)), seen, None, seed=4)


def test_a_published_checkpoint_is_recognised_and_its_table_printed(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """HyperIQA's published layout with random weights; its 224x224 crops come from enlarged images."""
    torch.manual_seed(0)
    model = create_model("hyperiqa", size="paper")
    torch.save({"model": model.network.state_dict(), "epoch": 16}, tmp_path / "best.pth")
    for image in manifest.parent.glob("*.png"):
        with Image.open(image) as opened:
            opened.resize((224, 224)).save(tmp_path / image.name)
    (tmp_path / "manifest.csv").write_text(manifest.read_text())
    monkeypatch.setenv("COLUMNS", "80")
    code, said, error = run_here(
        monkeypatch,
        capsys,
        *("attack", tmp_path / "best.pth", "--data", f"csv:{tmp_path / 'manifest.csv'}"),
        *("--attacks", "fgsm", "--part", "validation", "--eps", "0.01", "--out", tmp_path / "scores.parquet"),
    )
    assert code == 0, error
    assert "3 validation images" in " ".join(said.split())
    assert said.count("MOS") >= 4 and said.count("clean") >= 4 and "…" not in said
    first_words = [line.split()[0] for line in said.splitlines() if line.strip()]
    assert "none" in first_words and "fgsm" in first_words
    assert read_scores(tmp_path / "scores.parquet")["max_delta"].max() == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--attacks", "fgms"], "unknown attack 'fgms'; did you mean 'fgsm'"),
        (["--attacks", "fgsm:epsilon=0.1"], "did you mean 'eps'"),
        (["--attacks", "fgsm:strong"], "'strong' in the attack 'fgsm:strong' sets no parameter"),
        (["--attacks", ""], "at least one attack"),
        (["--attacks", "transfer"], "transfer needs the model to make its images on"),
        (["--attacks", "mad"], "mad needs the model whose score it holds"),
        (["--attacks", "mad:hold=psnr"], "hold: Input should be 'source', 'mse' or 'ssim', got 'psnr'"),
        (["--attacks", "rank:levels=0"], "levels must be at least 1"),
        (["--attacks", "uap:perturbation=nowhere.png"], "nowhere.png cannot be read"),
        (["--attacks", "kor:surrogate=nowhere"], "nowhere holds no surrogate"),
        (["--eps", "2"], "(0, 1]"),
        (["--part", "train"], "no 'train' part to attack"),
        (["--split", "authors"], "has no authors' split"),
    ],
)
def test_wrong_requests_are_one_sentence(
    arguments: list[str],
    sentence: str,
    smoke_study: StudyDirectory,
    manifest: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _, error = run_here(
        monkeypatch, capsys, "attack", smoke_study.trial("t000"), "--data", f"csv:{manifest}", *arguments
    )
    assert code == 2
    assert sentence in error and error.strip().count("\n") == 0


def test_what_is_no_checkpoint_is_named(
    tmp_path: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("no weights")
    unfinished = write_study(tmp_path, ends=("",)).trial("t000")
    for checkpoint, sentence in (
        ("nowhere", "there is no checkpoint nowhere"),
        (tmp_path / "notes.txt", "notes.txt"),
        (unfinished, "t000"),
    ):
        code, _, error = run_here(monkeypatch, capsys, "attack", checkpoint, "--data", f"csv:{manifest}")
        assert code == 2
        assert sentence in error and error.strip().count("\n") == 0
