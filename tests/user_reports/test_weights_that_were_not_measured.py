"""Weights that were damaged or replaced since a trial was measured are no model of that trial."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import run_here

from study.storage.directory import StudyDirectory
from trainables.config import BASELINE, Mixture, trial_config_from_dict
from trainables.mixture import record_mixture
from trainables.record import WEIGHTS, check_weights, digest_of, read_scores

Damage = Callable[[Path, Path], None]


def replaced(weights: Path, others: Path) -> None:
    shutil.copyfile(others, weights)


def truncated(weights: Path, others: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-100])


def turned(weights: Path, others: Path) -> None:
    """One bit of the last number, which loads as well as before."""
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)


@pytest.fixture
def study(smoke_study: StudyDirectory, tmp_path: Path) -> StudyDirectory:
    return StudyDirectory(Path(shutil.copytree(smoke_study.path, tmp_path / "mine [ü]" / "smoke")))


@pytest.mark.parametrize("damage", [replaced, truncated, turned])
def test_every_door_names_the_file(
    study: StudyDirectory,
    damage: Damage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(study.weights("t000"), study.weights(BASELINE))
    for words in (
        ["export", "smoke", "--pick", "t000", "--out", tmp_path / "out", "--studies", study.path.parent],
        ["attack", study.trial("t000"), "--attacks", "fgsm"],
    ):
        code, _, said = run_here(monkeypatch, capsys, *words)
        assert code == 2, words
        assert said.count("\n") == 1 and "was damaged or replaced" in said, said
        assert str(Path("t000") / WEIGHTS) in said
    assert not (tmp_path / "out").exists()


def test_no_mixture_is_made_of_them(study: StudyDirectory, tmp_path: Path) -> None:
    turned(study.weights("t000"), study.weights(BASELINE))
    parents = [
        (trial_config_from_dict(study.read_json(f"trials/{name}/config.json")), study.trial(name))
        for name in (BASELINE, "t000")
    ]
    with pytest.raises(ValueError, match="was damaged or replaced"):
        record_mixture(Mixture.of(BASELINE, "t000", 0.5), tmp_path, (parents[0], parents[1]), None, None)  # type: ignore[arg-type]


def test_a_table_says_which_weights_it_was_measured_with(study: StudyDirectory) -> None:
    for name in (BASELINE, "t000"):
        check_weights(study.trial(name))
        noted = read_scores(study.trial(name) / "scores.parquet").attrs[WEIGHTS]
        assert noted == digest_of(study.weights(name))
