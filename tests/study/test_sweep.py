"""The paper's ablations as study files; that they train is what the smoke study and the confirmation show."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.attack_series import series_over
from search_spaces.schema import baselines
from study.commands.sweep import sweep
from study.errors import StudyError
from study.storage.directory import create
from study.sweep import EPS, LOSSES, POINTS, STEPS, sweep_file
from trainables.attacks import check_suite


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
    with pytest.raises(StudyError, match="must be positive, got 0"):
        sweep_file("hyperiqa", "lam", values=[0.0, 1e-4])
    with pytest.raises(StudyError, match="not 'lambda'"):
        sweep("hyperiqa", "lambda", studies=tmp_path)
    with pytest.raises(StudyError, match="are no numbers"):
        sweep("hyperiqa", "lam", values="1e-5;1e-4", studies=tmp_path)
    create(tmp_path, "hyperiqa-lam", sweep_file("hyperiqa", "lam", values=[1e-5, 1e-4]))
    with pytest.raises(StudyError, match="is another one than this sweep"):
        sweep("hyperiqa", "lam", values="1e-6,1e-4", studies=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["hyperiqa-lam"]
