"""New seeds of a study's trials: which are trained, attacked and compared, whatever happened in between.

That they train and are attacked for real is shown by `test_sweep.py`; here a run leaves made-up tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from written_study import score_table, write_study

from study.errors import StudyError
from study.repeating import retrain as module
from study.repeating.retrain import MEMBERS, retrain, retrained_tables, seed_study
from study.storage.directory import StudyDirectory
from trainables.config import BASELINE, Mixture
from trainables.record import SCORES, write_scores

NAMES = ["t000", "t001"]


class Runs:
    """In place of `run` and `attack`: leaves a table for every trial but the failing ones, and notes what was asked."""

    def __init__(self, failing: Sequence[str] = ()) -> None:
        self.failing, self.ran, self.attacked = failing, list[str](), list[list[str]]()

    def run(self, replica: StudyDirectory, console: Console, **how: Any) -> bool:
        self.ran.append(replica.name)
        for place in range(replica.read_study_file().trials + 1):
            name = BASELINE if place == 0 else f"t{place - 1:03d}"
            if name not in self.failing and not (replica.trial(name) / SCORES).exists():
                write_scores(replica.trial(name) / SCORES, score_table(place, 10.0, 6.0), {"trial": name})
        return True

    def attack(self, replica: StudyDirectory, trials: list[str], console: Console, names: object = None) -> bool:
        self.attacked.append(trials)
        return True


@pytest.fixture
def directory(tmp_path: Path) -> StudyDirectory:
    return write_study(tmp_path, "whole")


def runs(monkeypatch: pytest.MonkeyPatch, failing: Sequence[str] = ()) -> Runs:
    made = Runs(failing)
    monkeypatch.setattr(module, "run", made.run)
    monkeypatch.setattr(module, "attack", made.attack)
    monkeypatch.setattr(module, "not_yet_attacked", lambda replica, trials: list(trials))
    return made


def test_every_seed_is_run_and_what_was_attacked_is_attacked(
    directory: StudyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runs(monkeypatch)
    assert retrain(directory, 2, ["t002", "t000"], Console(), attacked=[BASELINE, "t000"])
    assert made.ran == ["seed-1", "seed-2"]
    assert made.attacked == [[BASELINE, "t001"]] * 2, "t000 is the second of the seed's trials"
    assert [len(retrained_tables(directory, trial)) for trial in (BASELINE, "t002", "t000", "t001")] == [2, 2, 2, 0]


def test_a_retraining_that_failed_is_said_and_left_out(
    directory: StudyDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = runs(monkeypatch, failing=["t001"])
    assert retrain(directory, 1, NAMES, Console(width=500), attacked=NAMES)
    assert "with this seed t001 failed; why: " in capsys.readouterr().out
    assert made.attacked == [["t000"]]
    assert [len(retrained_tables(directory, trial)) for trial in NAMES] == [1, 0]


def test_a_seed_that_is_missing_ends_the_row_so_that_seeds_can_be_paired(
    directory: StudyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(monkeypatch)
    retrain(directory, 11, NAMES, Console())
    assert len(retrained_tables(directory, "t000")) == 11
    (StudyDirectory(directory.path / "confirm" / "seed-10").trial("t000") / SCORES).unlink()
    assert len(retrained_tables(directory, "t000")) == 9, "the tenth comes after the ninth, not after the first"
    assert len(retrained_tables(directory, BASELINE)) == 11


def test_a_seed_killed_while_it_was_made_is_made_again(
    directory: StudyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = seed_study(directory, 1, NAMES)
    (replica.path / MEMBERS).unlink()
    made = runs(monkeypatch)
    assert retrain(directory, 1, NAMES, Console()) and made.ran == ["seed-1"]
    assert replica.read_json(MEMBERS)["trials"] == NAMES


def test_of_a_mixture_the_parents_are_trained_and_mixed_again(
    directory: StudyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runs(monkeypatch)
    mixed: list[tuple[str, str]] = []

    def record_here(replica: StudyDirectory, mixtures: Sequence[Mixture]) -> None:
        for mixture in mixtures:
            mixed.append((replica.name, mixture.name))
            write_scores(replica.trial(mixture.name) / SCORES, score_table(1, 10.0, 6.0), {"trial": mixture.name})

    monkeypatch.setattr(module, "record_here", record_here)
    mixture = "t000~t002@0.3"
    assert retrain(directory, 2, ["t002", mixture], Console(), attacked=[mixture])
    # The seeds' trials are t002 and t000, in this order, so what was 0.3 of t002 comes first there.
    assert mixed == [("seed-1", "t000~t001@0.7"), ("seed-2", "t000~t001@0.7")]
    assert made.attacked == [["t000~t001@0.7"]] * 2
    assert seed_study(directory, 1, ["t002", "t000"]).read_json(MEMBERS)["trials"] == ["t002", "t000"]
    assert len(retrained_tables(directory, mixture)) == 2
    assert retrain(directory, 2, ["t002", mixture], Console())
    assert len(mixed) == 2, "what is there is not made again"
    assert retrained_tables(directory, "t001~t002@0.3") == []


def test_a_mixture_of_a_retraining_that_failed_is_left_out(
    directory: StudyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runs(monkeypatch, failing=["t000"])
    monkeypatch.setattr(module, "record_here", lambda *_: pytest.fail("one of its parents has no record"))
    assert retrain(directory, 1, ["baseline~t001@0.5"], Console(), attacked=["baseline~t001@0.5"])
    assert made.attacked == [[]]


def test_trials_of_a_seed_whose_list_was_lost_are_not_removed(tmp_path: Path) -> None:
    directory = write_study(tmp_path, ends=("complete",))
    kept = directory.path / "confirm" / "seed-1" / "trials" / "t000" / "scores.parquet"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"hours of training")
    with pytest.raises(StudyError, match=r"members\.json and holds trials/t000/scores\.parquet, so it is not replaced"):
        seed_study(directory, 1, ["t000"])
    assert kept.read_bytes() == b"hours of training"
