"""Confirmation: only new seeds count, and what they say reaches the front."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run_here
from ports import free_port
from rich.console import Console
from written_study import score_table, write_study

from analysis.confirmation import confirm_trial, undecided
from analysis.metrics import interval, mean_interval
from study.commands.front import front
from study.errors import StudyError
from study.looking.front_files import front_of, read_confirmed
from study.repeating.new_seeds import confirm, confirmations, write_summary
from study.repeating.retrain import MEMBERS, seed_study
from study.storage.directory import StudyDirectory
from trainables.config import BASELINE
from trainables.objectives import measure
from trainables.record import SCORES, write_scores

OBJECTIVES = ("srocc", "rmse_attacked")


@pytest.fixture
def directory(tmp_path: Path) -> StudyDirectory:
    return write_study(tmp_path, "confirmed")


def retrain(directory: StudyDirectory, seeds: int) -> list[str]:
    """Leave what a confirmation of so many seeds leaves; returns the members."""
    members = [point.trial for point in front_of(directory).members if not point.is_baseline]
    for number in range(1, seeds + 1):
        replica = seed_study(directory, number, members)
        for place, name in enumerate([BASELINE, *(f"t{place:03d}" for place in range(len(members)))]):
            scores = score_table(100 * number + place, strength=20.0 / (place + 1), noise=6.0)
            write_scores(replica.trial(name) / SCORES, scores, {"trial": name})
    return members


def test_a_seed_is_a_study_of_the_front_s_points_with_another_seed(directory: StudyDirectory) -> None:
    members = retrain(directory, 2)
    files = [StudyDirectory(directory.path / "confirm" / f"seed-{n}").read_study_file() for n in (1, 2)]
    configs = [directory.read_json(f"trials/{name}/config.json") for name in members]
    for study_file in files:
        assert [point["lam"] for point in study_file.first_points] == [config["lam"] for config in configs]
        assert (study_file.trials, study_file.scheduler.name, study_file.full_suite) == (len(members), "none", "none")
    assert len({directory.read_study_file().seed, *(study_file.seed for study_file in files)}) == 3


def test_the_split_is_the_study_s_own(directory: StudyDirectory) -> None:
    retrain(directory, 1)
    replica = StudyDirectory(directory.path / "confirm" / "seed-1")
    assert replica.read_split().equals(directory.read_split())


def test_a_front_that_grew_extends_the_seeds_and_keeps_what_they_have(directory: StudyDirectory) -> None:
    members = retrain(directory, 1)
    replica = seed_study(directory, 1, [*reversed(members)][:1])
    assert replica.read_json(MEMBERS)["trials"] == members
    assert (replica.trial("t000") / SCORES).exists()


def test_means_and_spreads_are_those_of_the_new_seeds_tables(directory: StudyDirectory) -> None:
    members = retrain(directory, 3)
    found = {one.trial: one for one in confirmations(directory, front_of(directory))}
    assert set(found) == {BASELINE, *members}
    values = [measure(score_table(100 * seed, 20.0, 6.0), "test")["rmse_attacked"] for seed in (1, 2, 3)]
    baseline = found[BASELINE]
    assert baseline.seeds == 3
    assert baseline.mean["test"]["rmse_attacked"] == pytest.approx(np.mean(values))
    assert baseline.std["test"]["rmse_attacked"] == pytest.approx(np.std(values, ddof=1))
    low, high = baseline.intervals["rmse_attacked"]
    assert low < baseline.mean["test"]["rmse_attacked"] < high


def test_the_interval_of_one_seed_is_the_plain_one() -> None:
    table = score_table(5, 20.0, 6.0)
    assert mean_interval([table], "test", "srocc") == interval(table, "test", "srocc")


def test_averaging_seeds_narrows_the_interval() -> None:
    """The images stay the same; what the seeds add at random averages out."""
    tables = [score_table(seed, 20.0, 12.0) for seed in range(8)]
    single = [interval(table, "test", "srocc") for table in tables]
    mean = mean_interval(tables, "test", "srocc")
    assert mean.high - mean.low < np.mean([one.high - one.low for one in single])


def test_tables_of_different_images_are_refused() -> None:
    table = score_table(1, 20.0, 6.0)
    with pytest.raises(ValueError, match="different images"):
        mean_interval([table, table[table["image"] != "test-0.png"]], "test", "srocc")


def test_dominated_trials_within_the_spread_are_named(directory: StudyDirectory) -> None:
    front = front_of(directory)
    calm = [confirm_trial("t000", [score_table(1, 20.0, 6.0)] * 2, OBJECTIVES)]
    wild = [confirm_trial("t000", [score_table(1, 20.0, 6.0), score_table(2, 90.0, 90.0)], OBJECTIVES)]
    assert undecided(front, calm) == []
    assert set(undecided(front, wild)) == {point.trial for point in front.dominated}
    assert undecided(front, [confirm_trial("t000", [score_table(1, 20.0, 6.0)], OBJECTIVES)]) == [], "one has no spread"


def test_the_front_shows_what_is_confirmed(directory: StudyDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    members = retrain(directory, 2)
    write_summary(directory, front_of(directory))
    found = front_of(directory)
    assert all(point.spread["srocc"] >= 0 for point in found.members)
    assert {point.trial for point in found.dominated if point.within_noise} == set(
        read_confirmed(directory)["within_noise"]
    )
    front("confirmed", studies=directory.path.parent, as_json=True)
    printed = json.loads(capsys.readouterr().out)["confirmed"]
    assert {one["trial"] for one in printed["trials"]} == {BASELINE, *members}
    front("confirmed", studies=directory.path.parent, as_json=False)
    shown = capsys.readouterr().out
    assert "Retrained with new seeds" in shown and "±" in shown


def test_a_front_without_nt_trials_cannot_be_confirmed(tmp_path: Path) -> None:
    directory = write_study(tmp_path, "bare", ends=("failed",))
    with pytest.raises(StudyError, match="holds its λ=0 baseline only"):
        confirm(directory, 1, Console())


def test_it_runs_on_the_cluster_that_it_is_sent_to(
    directory: StudyDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    where = ("--studies", directory.path.parent, "--address", nobody)
    code, _, said = run_here(monkeypatch, capsys, "confirm", directory.name, *where)
    assert code == 2 and f"the dashboard at {nobody} does not take the study" in said
