"""The full attack suite on finished trials, and what the audit says of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from study.directory import StudyDirectory
from study.front import front_of
from study.summaries import summarise
from trainables.config import BASELINE
from trainables.record import SCORES, read_scores

Command = Callable[..., "subprocess.CompletedProcess[str]"]
SUITE = {"ifgsm3": {"name": "ifgsm", "steps": 3, "alpha": 0.002}, "transfer": {"name": "transfer"}}


@pytest.fixture
def study(smoke_study: StudyDirectory, tmp_path: Path) -> StudyDirectory:
    """A copy of the smoke study with a short suite."""
    shutil.copytree(smoke_study.path, tmp_path / "smoke")
    directory = StudyDirectory(tmp_path / "smoke")
    directory.write_study_file(directory.read_study_file().model_copy(update={"suite": SUITE}))
    return directory


def attacks_of(directory: StudyDirectory, trial: str) -> set[str]:
    return set(read_scores(directory.trial(trial) / SCORES)["attack"])


def test_the_suite_adds_to_the_records_of_front_and_baseline(study: StudyDirectory, nt_study: Command) -> None:
    before = read_scores(study.trial(BASELINE) / SCORES)
    chosen = {member.trial for member in front_of(study).members} | {BASELINE}
    ran = nt_study("suite", "smoke", "--studies", study.path.parent)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for trial in summarise(study):
        expected = {"fgsm", "noise"} | (set(SUITE) if trial.trial in chosen else set())
        assert attacks_of(study, trial.trial) == expected, trial.trial
    after = read_scores(study.trial(BASELINE) / SCORES)
    pd.testing.assert_frame_equal(after.iloc[: len(before)], before)
    assert (after["max_delta"] <= 0.005 + 1e-6).all()

    again = nt_study("suite", "smoke", "--studies", study.path.parent)
    assert "nothing new" in again.stdout
    audited = nt_study("audit", "smoke", "--studies", study.path.parent, "--json")
    assert set(json.loads(audited.stdout)["audited"]) == {trial.trial for trial in summarise(study)}


def test_wrong_requests_are_one_sentence(study: StudyDirectory, nt_study: Command) -> None:
    for arguments, sentence in (
        (("suite", "smoke", "--on", "some"), "--on is 'front' or 'all'"),
        (("surrogate", "train", "vgg"), "there is no surrogate 'vgg'"),
        (("attack", "nowhere"), "there is no checkpoint nowhere"),
    ):
        studies = ("--studies", study.path.parent) if arguments[0] == "suite" else ()
        ran = nt_study(*arguments, *studies)
        assert ran.returncode == 2
        assert sentence in ran.stderr and "Traceback" not in ran.stderr
