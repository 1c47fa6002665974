"""Mixtures in a real study: made on Ray, counted apart, dialled to a bound, exported."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from rich.console import Console

from analysis.front import TrialPoint
from study.mixing.filling import points_of, to_fill
from study.running.run import blend
from study.storage.directory import StudyDirectory
from study.storage.summaries import count_states, summarise
from trainables.config import BASELINE, Mixture
from trainables.mixture import interpolate
from trainables.record import SCORES, read_scores

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("private_cache")]


@pytest.fixture(scope="module")
def mixed(smoke_study: StudyDirectory, tmp_path_factory: pytest.TempPathFactory) -> StudyDirectory:
    """A copy of the smoke study, of which a killed run has left two mixtures half-made, filled up."""
    studies = tmp_path_factory.mktemp("mixed [ü]")
    study = StudyDirectory(Path(shutil.copytree(smoke_study.path, studies / "smoke")))
    (study.path / "lock").unlink(missing_ok=True)
    study.write_study_file(study.read_study_file().model_copy(update={"mixtures": 2}))
    for weight in (0.25, 0.5):
        begun = Mixture.of(BASELINE, "t000", weight)
        shutil.copytree(study.trial("t000"), study.trial(begun.name))
        config = json.loads((study.trial(begun.name) / "config.json").read_text(encoding="utf-8"))
        config |= {"trial": begun.name, "mixture": {"parents": list(begun.parents), "weight": begun.weight}}
        study.write_json(f"trials/{begun.name}/config.json", config)
        for name in (SCORES, "result.json", "epochs.jsonl"):
            (study.trial(begun.name) / name).unlink()
    assert len(to_fill(study, study.read_study_file(), 5)) == 2
    assert blend(study, 2, Console(quiet=True))
    return study


def mixtures_of(study: StudyDirectory) -> list[TrialPoint]:
    return [point for point in points_of(study) if point.is_mixture]


def test_mixtures_have_a_trials_record_and_are_no_trials(mixed: StudyDirectory, smoke_study: StudyDirectory) -> None:
    before, after = summarise(smoke_study), summarise(mixed)
    made = [trial for trial in after if trial.is_mixture]
    assert len(made) == 2
    assert all(trial.state == "complete" and trial.seconds == 0 for trial in made)
    assert count_states(mixed, after) == count_states(smoke_study, before)
    of_trial = read_scores(mixed.trial(BASELINE) / SCORES)
    for trial in made:
        scores = read_scores(mixed.trial(trial.trial) / SCORES)
        assert list(scores["image"]) == list(of_trial["image"])
        assert list(scores["attack"]) == list(of_trial["attack"])


def test_the_weights_are_those_between_the_parents(mixed: StudyDirectory) -> None:
    for point in mixtures_of(mixed):
        states = [safetensors.torch.load_file(mixed.weights(name)) for name in (*point.parents, point.trial)]
        between = interpolate(states[0], states[1], point.weight or 0)
        assert all(torch.equal(states[2][key], value) for key, value in between.items())


def test_nothing_is_left_to_fill_and_more_can_be_asked_for(mixed: StudyDirectory) -> None:
    study_file = mixed.read_study_file()
    assert to_fill(mixed, study_file, 5) == []
    assert to_fill(mixed, study_file.model_copy(update={"mixtures": 0}), 5) == []


def test_the_dial_exports_a_mixture_that_keeps_its_bound(
    mixed: StudyDirectory, nt_study: Callable, tmp_path: Path
) -> None:
    ends = [point for point in points_of(mixed) if not point.is_mixture]
    values = sorted(point.validation["rmse_attacked"] for point in ends)
    bound = (values[0] + values[-1]) / 2
    out = tmp_path / "at the bound"
    wish = f"rmse_attacked<={bound:.3f}"
    ran = nt_study("export", mixed.name, "--studies", mixed.path.parent, "--at", wish, "--out", out)
    assert ran.returncode == 0, ran.stderr
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert json.loads((out / "metrics.json").read_text())["model"]["validation"]["rmse_attacked"] <= bound
    assert "meets rmse_attacked" in ran.stderr
    assert "test: srocc" in re.sub(r"\s+", " ", ran.stderr)
    mixture = Mixture.named(config["trial"]["trial"])
    if mixture is not None:
        assert "mixed of two" in (out / "README.md").read_text(encoding="utf-8")
    refused = nt_study("export", mixed.name, "--studies", mixed.path.parent, "--at", "srocc>=1.5", "--out", out / "no")
    assert refused.returncode == 2
    assert re.search(r"no model of study .* has srocc >= 1\.5 on validation: they go from", refused.stderr)
    assert not (out / "no").exists()
