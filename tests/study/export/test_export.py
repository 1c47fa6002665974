"""Exports of a really trained study: rebuilt in a fresh process, scored, repeated, refused."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from command_line import run_here
from PIL import Image
from written_study import write_study

from study.errors import StudyError
from study.export.reading import find_images, load_exported, score
from study.export.writing import export
from study.looking.front_files import front_of
from study.storage.directory import StudyDirectory
from trainables.data import open_dataset
from trainables.data.store import ImageStore
from trainables.record import read_scores
from trainables.views import image_views

Command = Callable[..., tuple[int, str, str]]
CLOSE = 1e-5
"""Relative: scores are about 50, and a batch's size changes single precision's last digits."""


@pytest.fixture
def nt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return partial(run_here, monkeypatch, capsys)


@pytest.fixture(scope="module")
def knee(smoke_study: StudyDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (folder,) = export(smoke_study, "knee", tmp_path_factory.mktemp("exports") / "knee", formats=["onnx"])
    return folder


@pytest.fixture(scope="module")
def pixels(smoke_study: StudyDirectory) -> ImageStore:
    return open_dataset(smoke_study.read_study_file().data).store


@pytest.fixture(scope="module")
def photos(smoke_study: StudyDirectory, pixels: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the study's test images as files of their names."""
    folder = tmp_path_factory.mktemp("photos")
    rows = smoke_study.read_split()
    rows = rows[rows["split"] == "test"].head(12)
    for index, image in zip(rows["index"], rows["image"], strict=True):
        Image.fromarray(pixels[index]).save(folder / f"{image}.png")
    return folder


def test_a_fresh_process_without_ray_and_mlflow_scores_as_the_study_did(knee: Path, photos: Path) -> None:
    program = (
        "import json, sys\n"
        "for name in ('ray', 'mlflow', 'optuna', 'pydantic'): sys.modules[name] = None\n"
        "from study.export.reading import score\n"
        f"print(json.dumps({{one.image: one.score for one in score({str(knee)!r}, [{str(photos)!r}])}}))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert_scores(json.loads(ran.stdout), knee)


def test_scores_are_written_as_a_table(knee: Path, photos: Path, tmp_path: Path, nt: Command) -> None:
    out = tmp_path / "scores.csv"
    code, _, error = nt("score", knee, photos, "--out", out)
    assert code == 0, error
    rows = csv.DictReader(io.StringIO(out.read_text(encoding="utf-8")))
    assert_scores({row["image"]: float(row["score"]) for row in rows}, knee)


def assert_scores(found: dict[str, float], knee: Path) -> None:
    """The photographs have the scores that the study's table gives them."""
    table = read_scores(knee / "scores.parquet")
    expected = table[(table["split"] == "test") & (table["attack"] == "fgsm")].set_index("image")["clean_score"]
    assert len(found) == 12
    for path, value in found.items():
        assert value == pytest.approx(expected[Path(path).stem], rel=CLOSE)


def test_an_export_says_what_it_is(knee: Path, smoke_study: StudyDirectory) -> None:
    front = front_of(smoke_study)
    config = json.loads((knee / "config.json").read_text(encoding="utf-8"))
    assert config["trial"]["trial"] == front.knee.trial and config["trial"]["lam"] == front.knee.lam
    assert config["input"]["height"] == 64 and config["input"]["mean"] == [0.485, 0.456, 0.406]
    metrics = json.loads((knee / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["model"]["test"]["rmse_attacked"] == front.knee.test["rmse_attacked"]
    card = (knee / "README.md").read_text(encoding="utf-8")
    assert f"`{front.knee.trial}`" in card and "knee" in card and "![" in card
    assert Image.open(knee / "front.png").width > 300


def test_repeating_an_export_gives_the_same_bytes(knee: Path, smoke_study: StudyDirectory, tmp_path: Path) -> None:
    (again,) = export(smoke_study, "knee", tmp_path / "again", formats=["onnx"])
    names = {path.name for path in knee.iterdir()}
    assert names == {path.name for path in again.iterdir()} and "model.onnx" in names
    assert all((knee / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_onnx_scores_as_pytorch_does_and_keeps_our_paths_to_itself(knee: Path, pixels: ImageStore) -> None:
    import onnxruntime
    import torch

    images = pixels.batch(range(7)).float() / 255
    with torch.no_grad():
        expected = load_exported(knee)(images).numpy()
    session = onnxruntime.InferenceSession(knee / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["scores"], {"images": images.numpy()})
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert b".py" not in (knee / "model.onnx").read_bytes()


def test_onnx_scores_a_large_image_by_its_views_as_score_does(knee: Path, tmp_path: Path) -> None:
    import onnxruntime

    large = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(large).save(tmp_path / "large.png")
    views = image_views(large, load_exported(knee).input_spec, image="large").numpy() / np.float32(255)
    session = onnxruntime.InferenceSession(knee / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["scores"], {"images": views})
    assert found.mean() == pytest.approx(score(knee, [tmp_path / "large.png"])[0].score, rel=CLOSE)


def test_picks(smoke_study: StudyDirectory, tmp_path: Path) -> None:
    front = front_of(smoke_study)
    folders = export(smoke_study, "front", tmp_path / "front")
    assert [folder.name for folder in folders] == [member.trial for member in front.members]
    for pick, trial in (("most-accurate", front.most_accurate), ("most-robust", front.most_robust)):
        (folder,) = export(smoke_study, pick, tmp_path / pick)
        assert (folder / "model.safetensors").read_bytes() == (
            smoke_study.trial(trial.trial) / "model.safetensors"
        ).read_bytes()
    with pytest.raises(ValueError, match=f"it holds .*{front.members[0].trial}"):
        load_exported(tmp_path / "front")


def test_an_export_replaces_nothing_but_an_export(smoke_study: StudyDirectory, knee: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work", encoding="utf-8")
    for force in (False, True):
        with pytest.raises(StudyError, match="mine exists"):
            export(smoke_study, "knee", out, force=force)
    assert (out / "thesis.tex").exists()
    shutil.copytree(knee, tmp_path / "old")
    export(smoke_study, "baseline", tmp_path / "old", force=True)
    assert "λ = 0" in (tmp_path / "old" / "README.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "old"]


def test_a_failing_export_leaves_nothing(tmp_path: Path) -> None:
    """Trials of a written study have no weights."""
    directory = write_study(tmp_path / "studies")
    with pytest.raises(StudyError, match=r"has no model\.safetensors"):
        export(directory, "knee", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["studies"]


def test_unknown_picks_and_studies_without_a_front(tmp_path: Path, nt: Command) -> None:
    directory = write_study(tmp_path)
    with pytest.raises(StudyError, match="did you mean 'most-robust'"):
        export(directory, "most-robsut", tmp_path / "out")
    write_study(tmp_path, "open", baseline="", ends=())
    code, _, error = nt("export", "open", "--out", tmp_path / "out", "--studies", tmp_path)
    assert (code, error.count("\n")) == (2, 1) and "has no front yet" in error


def test_damaged_exports_are_refused(knee: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(knee, damaged)
    weights = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(ValueError, match="not the file that was exported"):
        load_exported(damaged)
    (damaged / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        load_exported(damaged)
    with pytest.raises(ValueError, match="holds no exported model"):
        load_exported(tmp_path)


def test_good_images_are_scored_beside_bad_ones(knee: Path, photos: Path, tmp_path: Path) -> None:
    good = sorted(photos.iterdir())[0]
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:200])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "words.png").write_text("no image", encoding="utf-8")
    Image.new("RGB", (20, 20)).save(tmp_path / "tiny.png")
    Image.open(good).convert("RGBA").save(tmp_path / "alpha.png")
    large = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(large).save(tmp_path / "large.png")
    found = {Path(result.image).name: result for result in score(knee, [good, tmp_path, tmp_path / "none.png"])}
    assert len(found) == 8
    for name in (good.name, "alpha.png", "large.png"):
        assert found[name].score is not None and not found[name].error
    assert found["alpha.png"].score == pytest.approx(found[good.name].score, rel=CLOSE)
    for name in ("cut.png", "empty.png", "words.png", "tiny.png", "none.png"):
        assert found[name].score is None and found[name].error, name


def test_files_folders_and_patterns_stand_for_images_once(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "notes.txt", "deep/c.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [
        str(path.relative_to(tmp_path)) for path in find_images([tmp_path / "b.png", tmp_path, tmp_path / "*.jpg"])
    ]
    assert names == ["b.png", "a.jpg", "deep/c.PNG"]
    assert [path.name for path in find_images([str(tmp_path / "*.txt"), tmp_path / "[z].png"])] == ["notes.txt"]


def test_scores_come_as_json_and_failures_as_an_exit_code(knee: Path, photos: Path, nt: Command) -> None:
    good = sorted(photos.iterdir())[0]
    code, said, error = nt("score", knee, good, "missing.png", "--json")
    assert code == 1 and "1 of 2 images" in error
    first, second = json.loads(said)["scores"]
    assert first["score"] is not None and second == {
        "image": "missing.png",
        "score": None,
        "error": "missing.png cannot be read: No such file or directory",
        "note": "",
    }
