"""The paper's ablations: their study files, and one that is really run, killed between its seeds and run again."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from analysis.attack_series import series_over
from benchmarks.torture.small_study import write_study_file
from search_spaces.schema import baselines, load_study_file
from study.commands.sweep import sweep
from study.errors import StudyError
from study.looking.front_files import front_of
from study.repeating.retrain import retrained_tables
from study.repeating.sweep import EPS, LOSSES, POINTS, STEPS, is_same, sweep_file
from study.storage.directory import StudyDirectory, create
from trainables.attacks import check_suite
from trainables.config import BASELINE
from trainables.record import SCORES, read_scores


@pytest.mark.parametrize("baseline", baselines())
@pytest.mark.parametrize("size", ["small", "paper"])
def test_a_sweep_over_lam_keeps_the_papers_step_and_holds_its_lam(baseline: str, size: str) -> None:
    study_file = sweep_file(baseline, "lam", overrides={"size": size})
    assert {point["step_size"] for point in study_file.first_points} == {0.01}
    lams = [point["lam"] for point in study_file.first_points]
    assert study_file.paper_point["lam"] in lams
    assert POINTS <= len(lams) == study_file.trials <= POINTS + 1
    assert lams == sorted(lams)


def test_values_of_ones_own_may_lie_outside_the_range(tmp_path: Path) -> None:
    study_file = sweep_file("hyperiqa", "step_size", values=[0.5, 1e-5])
    assert [point["step_size"] for point in study_file.first_points] == [1e-5, 0.5]
    assert {point["lam"] for point in study_file.first_points} == {study_file.paper_point["lam"]}
    assert create(tmp_path, "wide", study_file).read_study_file() == study_file, "it is a valid study file"


def test_intensity_is_one_point_under_many_attacks(tmp_path: Path) -> None:
    study_file = sweep_file("hyperiqa", "intensity", preset="smoke")
    assert [dict(point) for point in study_file.first_points] == [study_file.paper_point]
    assert study_file.full_suite == "all"
    check_suite(study_file.suite)
    steps, eps, losses = (series_over(study_file.suite, name) for name in ("steps", "eps", "loss"))
    assert [len(labels) for labels in (*steps, *eps, *losses)] == [len(STEPS), len(EPS), len(LOSSES)]
    assert create(tmp_path, "intensity", study_file).read_study_file() == study_file


def test_what_no_sweep_can_do_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="takes no --values"):
        sweep_file("hyperiqa", "intensity", values=[0.1])
    for wrong in (0.0, -1e-4, math.nan, math.inf):
        with pytest.raises(StudyError, match="must be positive numbers, got"):
            sweep_file("hyperiqa", "lam", values=[wrong, 1e-4])
    with pytest.raises(StudyError, match="takes no --full-suite"):
        sweep("hyperiqa", "intensity", full_suite="all", studies=tmp_path)
    with pytest.raises(StudyError, match="not 'lambda'"):
        sweep("hyperiqa", "lambda", studies=tmp_path)
    with pytest.raises(StudyError, match="are no numbers"):
        sweep("hyperiqa", "lam", values="1e-5;1e-4", studies=tmp_path)
    create(tmp_path, "hyperiqa-lam", sweep_file("hyperiqa", "lam", values=[1e-5, 1e-4]))
    with pytest.raises(StudyError, match="is another one than this sweep"):
        sweep("hyperiqa", "lam", values="1e-6,1e-4", studies=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["hyperiqa-lam"]


def test_where_all_attacks_run_may_be_decided_later() -> None:
    plain = sweep_file("hyperiqa", "lam")
    attacked = sweep_file("hyperiqa", "lam", overrides={"full_suite": "reported"})
    assert plain != attacked and is_same(plain, attacked)
    assert not is_same(plain, sweep_file("hyperiqa", "lam", overrides={"seed": 1}))
    further = sweep_file("hyperiqa", "lam", overrides={"suite": {"weak": {"name": "fgsm", "eps": 0.001}}})
    assert is_same(plain, further) and not is_same(further, plain)


@pytest.mark.slow
def test_a_sweep_killed_among_its_seeds_goes_on_where_it_was(tmp_path: Path) -> None:
    path = write_study_file(tmp_path)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["suite"] = dict.fromkeys(load_study_file("hyperiqa").suite)  # None takes the default ones away
    content["suite"]["ifgsm3"] = {"name": "ifgsm", "eps": 0.005, "alpha": 0.002, "steps": 3}
    path.write_text(yaml.safe_dump(content | {"first_points": []}), encoding="utf-8")
    command = [sys.executable, "-m", "study.cli", "sweep", str(path), "lam", "--values", "1e-5,1e-3", "--seeds", "2"]
    command += ["--full-suite", "reported", "--name", "swept", "--studies", str(tmp_path)]
    directory = StudyDirectory(tmp_path / "swept")
    seed = StudyDirectory(directory.path / "confirm" / "seed-1")

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as first:
        deadline = time.monotonic() + 240
        while not (seed.trial(BASELINE) / "epochs.jsonl").exists():
            assert first.poll() is None and time.monotonic() < deadline, first.communicate()[0]
            time.sleep(0.1)
        first.kill()
        first.communicate()
    ended = {path: path.stat().st_mtime_ns for path in directory.trials.glob("*/scores.parquet")}
    assert len(ended) == 3
    again = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0 and "is finished" in again.stdout, again.stdout + again.stderr

    assert {path: path.stat().st_mtime_ns for path in ended} == ended, "nothing finished ran again"
    for trial in (BASELINE, "t000", "t001"):
        own, other = read_scores(directory.trial(trial) / SCORES), *retrained_tables(directory, trial)
        assert set(own["attack"]) == set(other["attack"]), "attacked alike with every seed"
        assert not own["clean_score"].equals(other["clean_score"])
    reported = front_of(directory).reported
    assert reported is not None
    assert "ifgsm3" in set(read_scores(seed.trial(reported.trial) / SCORES)["attack"])
