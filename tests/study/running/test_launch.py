"""The main job, end to end: a real study with real Ray, Optuna and MLflow, on real photographs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
import optuna
import pytest
from command_line import run_here
from ports import free_port

from analysis.pareto import as_losses, non_dominated
from study.search.durable import objective_values
from study.storage.directory import StudyDirectory
from study.storage.summaries import summarise
from trainables.config import BASELINE
from trainables.data import open_dataset
from trainables.record import SCORES, read_scores
from trainables.trial import Trial, run_trial

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Here = Callable[..., tuple[int, str, str]]
DIRECTIONS = ["maximize", "minimize"]


@pytest.fixture
def nt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command line, in this process: exit code, output, errors."""
    return partial(run_here, monkeypatch, capsys)


def test_the_study_finishes_with_every_trial_asked_for(smoke_study: StudyDirectory, nt: Here) -> None:
    _, said, _ = nt("status", "smoke", "--studies", smoke_study.path.parent, "--json")
    facts = json.loads(said)
    assert facts["states"] == {"complete": 3, "pruned": 0, "failed": 0, "running": 0, "waiting": 0}
    assert facts["owner"] is None


def test_the_front_is_the_non_dominated_trials_on_validation(smoke_study: StudyDirectory, nt: Here) -> None:
    _, said, _ = nt("front", "smoke", "--studies", smoke_study.path.parent, "--json")
    front = json.loads(said)
    assert front["study"] == "smoke"
    assert front["objectives"] == ["srocc", "rmse_attacked"]
    trials = summarise(smoke_study)
    values = [[trial.validation["srocc"], trial.validation["rmse_attacked"]] for trial in trials]
    expected = {
        trial.trial for trial, on in zip(trials, non_dominated(as_losses(values, DIRECTIONS)), strict=True) if on
    }
    assert {member["trial"] for member in front["front"]} == expected
    assert all({"srocc", "rmse_attacked"} <= set(member["test"]) for member in front["front"])


def test_robustness_is_bought_as_in_the_paper(smoke_study: StudyDirectory) -> None:
    """Attacked RMSE and gradient norm fall with λ, a lot (Tables 2 and Figure 4); nothing is claimed of SROCC."""
    trials = {trial.trial: trial for trial in summarise(smoke_study)}
    baseline = trials.pop(BASELINE)
    strongest = max(trials.values(), key=lambda trial: trial.lam)
    assert strongest.test["rmse_attacked"] < baseline.test["rmse_attacked"] / 3
    assert strongest.test["gradient_l1"] < baseline.test["gradient_l1"] / 2


def test_optuna_and_mlflow_hold_what_the_score_tables_say(smoke_study: StudyDirectory) -> None:
    study_file = smoke_study.read_study_file()
    recorded = optuna.load_study(study_name="smoke", storage=smoke_study.optuna_url)
    assert len(recorded.trials) == study_file.trials
    client = mlflow.MlflowClient(f"sqlite:///{smoke_study.path.parent / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = {run.info.run_name: run for run in client.search_runs(experiments)}
    for trial in recorded.trials:
        name = trial.user_attrs["trial"]
        values = objective_values(smoke_study, study_file, name)
        assert trial.state == optuna.trial.TrialState.COMPLETE
        assert trial.values == pytest.approx(values, abs=0)
        metrics = runs[name].data.metrics
        assert [metrics[f"validation/{objective}"] for objective in study_file.objectives] == values


def test_a_trial_repeated_as_plain_pytorch_scores_the_same(smoke_study: StudyDirectory, tmp_path: Path) -> None:
    """Same seed, same split, same start: the record does not depend on Ray or on the process."""
    study_file = smoke_study.read_study_file()
    point = {key: smoke_study.read_json("trials/t000/config.json")[key] for key in ("lam", "step_size")}
    trial = Trial(
        study_file.trial_config("t000", point),
        open_dataset(study_file.data).store,
        smoke_study.read_split(),
        tmp_path,
        start=smoke_study.trial(BASELINE),
    )
    repeated = run_trial(trial)
    recorded = read_scores(smoke_study.trial("t000") / SCORES)
    assert list(repeated["image"]) == list(recorded["image"])
    for column in ("mos", "clean_score", "attacked_score", "attacked_score_8bit", "gradient_l1"):
        np.testing.assert_allclose(repeated[column], recorded[column], rtol=1e-5, atol=1e-4)


def test_the_split_keeps_contents_apart(smoke_study: StudyDirectory) -> None:
    rows = smoke_study.read_split()
    assert set(rows["split"]) == {"train", "validation", "test"}
    assert (rows.groupby("content")["split"].nunique() == 1).all()
    # Validation is carved out of the training part, and counts with it for the scale.
    scaled = rows[rows["split"] != "test"]["mos"]
    assert (scaled.min(), scaled.max()) == (0, 100)


def test_launching_a_finished_study_again_shows_it(smoke_study: StudyDirectory, nt: Here) -> None:
    arguments = ("launch", "hyperiqa", "--preset", "smoke", "--name", "smoke", "--studies", smoke_study.path.parent)
    code, _, refused = nt(*arguments)
    assert code == 2 and "already a study named 'smoke'" in refused and " resume smoke " in refused
    code, shown, _ = nt(*arguments, "--or-show")
    assert code == 0 and "baseline" in shown


@pytest.mark.slow
def test_ctrl_c_leaves_a_study_that_resume_finishes(tmp_path: Path, nt_study: Command) -> None:
    launch = [sys.executable, "-m", "study.cli", "launch", "hyperiqa", "--preset", "smoke", "--studies", str(tmp_path)]
    nobody = ["--mlflow", f"http://127.0.0.1:{free_port()}"]
    running = subprocess.Popen([*launch, "--name", "cut", "--trials", "2", *nobody], stdout=subprocess.PIPE, text=True)
    directory = StudyDirectory(tmp_path / "cut")
    wait_for(lambda: (directory.trial(BASELINE) / SCORES).exists(), 120)
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert " resume cut" in output
    assert " ".join(output.split()).count("nothing listens there") == 1, (
        "an MLflow that is away is said once, and costs no trial"
    )
    assert directory.owner() is None
    trained = (directory.trial(BASELINE) / SCORES).stat().st_mtime_ns

    resumed = nt_study("resume", "cut", "--studies", tmp_path)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert [trial.state for trial in summarise(directory)] == ["complete"] * 3
    assert (directory.trial(BASELINE) / SCORES).stat().st_mtime_ns == trained, "the baseline was not trained twice"
    recorded = optuna.load_study(study_name="cut", storage=directory.optuna_url)
    assert [trial.state.name for trial in recorded.trials] == ["COMPLETE"] * 2


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
