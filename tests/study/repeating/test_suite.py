"""The full attack suite on finished trials, and what the audit says of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from command_line import run_here

from study.looking.front_files import front_of
from study.repeating.suite_tasks import attacks_of
from study.storage.directory import StudyDirectory
from study.storage.summaries import summarise
from trainables.attacks.uap import save_perturbation
from trainables.config import BASELINE
from trainables.record import SCORES, read_scores, write_scores

Command = Callable[..., "subprocess.CompletedProcess[str]"]
IMAGES = {"train": 64, "validation": 8, "test": 6}
"""What of the smoke study's split the suite is run on."""


@pytest.fixture
def study(smoke_study: StudyDirectory, tmp_path: Path) -> StudyDirectory:
    """A copy of the smoke study with fewer images and a short suite of every kind of attack."""
    shutil.copytree(smoke_study.path, tmp_path / "smoke")
    directory = StudyDirectory(tmp_path / "smoke")
    rows = directory.read_split()
    rows = pd.concat([part.iloc[:: len(part) // IMAGES[str(name)]] for name, part in rows.groupby("split")])
    directory.write_split(rows)
    for trial in summarise(directory):
        path = directory.trial(trial.trial) / SCORES
        scores = read_scores(path)
        write_scores(path, scores[scores["image"].isin(rows["image"])], {"trial": trial.trial})
    save_perturbation(tmp_path / "uap.png", 0.1 * torch.sin(torch.arange(3 * 64 * 64.0)).view(3, 64, 64))
    suite = {
        "ifgsm3": {"name": "ifgsm", "steps": 3, "alpha": 0.002},
        "apgd": {"name": "apgd", "steps": 4, "restarts": 1},
        "transfer": {"name": "transfer"},
        "uap": {"name": "uap", "perturbation": str(tmp_path / "uap.png")},
        "kor": {"name": "kor"},
    }
    directory.write_study_file(directory.read_study_file().model_copy(update={"suite": suite}))
    return directory


@pytest.mark.slow
def test_the_suite_adds_to_the_records_of_front_and_baseline(
    study: StudyDirectory,
    nt_study: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = read_scores(study.trial(BASELINE) / SCORES)
    chosen = {member.trial for member in front_of(study).members} | {BASELINE}
    suite = set(study.read_study_file().suite)
    ran = nt_study("suite", "smoke", "--studies", study.path.parent)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for trial in summarise(study):
        expected = {"fgsm", "noise"} | (suite if trial.trial in chosen else set())
        assert set(attacks_of(study.trial(trial.trial))) == expected, trial.trial
    after = read_scores(study.trial(BASELINE) / SCORES)
    pd.testing.assert_frame_equal(after.iloc[: len(before)], before)
    assert after.groupby("attack")["image"].agg(set).map(set(before["image"]).__eq__).all()
    bounded = after[~after["attack"].isin(("uap", "kor"))]
    assert (bounded["max_delta"] <= 0.005 + 1e-6).all()
    transferred = after[after["attack"] == "transfer"].set_index("image")["attacked_score"]
    made_here = after[after["attack"] == "fgsm"].set_index("image")
    assert ((transferred - made_here["clean_score"]).abs() > 0).all(), "made on the baseline itself, here"

    (surrogate,) = (study.black_box / "surrogates").iterdir()
    assert {file.name for file in surrogate.iterdir()} == {"surrogate.json", "model.safetensors"}

    records = {trial.trial: (study.trial(trial.trial) / SCORES).stat().st_mtime_ns for trial in summarise(study)}
    code, said, _ = run_here(monkeypatch, capsys, "suite", "smoke", "--studies", study.path.parent)
    assert code == 0
    assert "every trial has been attacked with ifgsm3, apgd, transfer, uap, kor already" in said.replace("\n", " ")
    assert records == {trial: (study.trial(trial) / SCORES).stat().st_mtime_ns for trial in records}
    _, audited, _ = run_here(monkeypatch, capsys, "audit", "smoke", "--studies", study.path.parent, "--json")
    assert set(json.loads(audited)["audited"]) == chosen


def test_a_doubtful_trial_is_named_by_the_audit(
    study: StudyDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As if the noise of the same budget had moved the scores of one trial twice as far as FGSM."""
    path = study.trial("t001") / SCORES
    scores = read_scores(path)
    change = scores["attacked_score"] - scores["clean_score"]
    of_fgsm = change[scores["attack"] == "fgsm"].to_numpy()
    is_noise = scores["attack"] == "noise"
    scores.loc[is_noise, "attacked_score"] = scores.loc[is_noise, "clean_score"] + 2 * of_fgsm
    write_scores(path, scores, {"trial": "t001"})
    _, said, _ = run_here(monkeypatch, capsys, "audit", "smoke", "--studies", study.path.parent)
    assert "t001: noise: random noise does nearly as well" in said
    assert "audited trials give no reason to doubt" in said
    written = study.trial("t001") / "config.json"
    config = json.loads(written.read_text())
    config["recipe"] |= {"defence": "adversarial_training"}
    written.write_text(json.dumps(config))
    stronger = scores[is_noise].assign(attack="apgd")
    stronger["attacked_score"] = stronger["clean_score"] + 5 * of_fgsm
    write_scores(path, pd.concat([scores, stronger], ignore_index=True), {"trial": "t001"})
    _, said, _ = run_here(monkeypatch, capsys, "audit", "smoke", "--studies", study.path.parent)
    assert "t001: apgd: more steps are clearly stronger" in said
    assert "catastrophic overfitting: training on one-step attacks" in said


def test_wrong_requests_are_one_sentence(
    study: StudyDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, sentence in (
        (("suite", "smoke", "--on", "some", "--studies", study.path.parent), "--on is one of reported, front, all"),
        (("surrogate", "train", "vgg"), "there is no surrogate 'vgg'"),
    ):
        code, _, error = run_here(monkeypatch, capsys, *arguments)
        assert code == 2
        assert sentence in error and "Traceback" not in error
