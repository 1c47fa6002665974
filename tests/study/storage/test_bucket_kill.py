"""A study in a bucket outlives its driver and the driver's machine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from object_store import ObjectStore

from benchmarks.torture.small_study import EPOCHS, TRIALS, write_study_file
from study.export.reading import load_exported
from study.search.durable import open_optuna
from study.storage.directory import StudyDirectory, find
from study.storage.mirror import mirror_of, studies_folder
from study.storage.summaries import read_epochs, summarise
from trainables.config import BASELINE


def nt_study(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "study.cli", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_a_killed_driver_is_resumed_on_a_machine_that_has_seen_nothing(
    object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = object_store.fresh(monkeypatch) + "/studies"
    study_file = write_study_file(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "first"))
    launch = ["launch", str(study_file), "--name", "killed", "--studies", address]
    driver = subprocess.Popen([sys.executable, "-m", "study.cli", *launch], stdout=subprocess.PIPE, text=True)
    folder = studies_folder(address) / "killed"
    mirror = mirror_of(folder)
    assert mirror is not None
    deadline = time.monotonic() + 200
    begun = [folder / "trials" / name / "epochs.jsonl" for name in ("t001", "t002")]
    while not mirror.files(folder / "trials").keys() & set(begun):
        assert driver.poll() is None and time.monotonic() < deadline, "no trial came so far"
        time.sleep(0.2)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "second"))
    directory = find(studies_folder(address), "killed")
    before = {trial.trial: trial for trial in summarise(directory)}
    times = {file: stamp for file, stamp in files_of(directory).items() if file.endswith("scores.parquet")}
    assert before[BASELINE].state == "complete" and len(times) < TRIALS + 1
    nt_study("resume", "killed", "--studies", address)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "third"))
    directory = find(studies_folder(address), "killed")
    trials = summarise(directory)
    assert [trial.state for trial in trials] == ["complete"] * (TRIALS + 1)
    after = files_of(directory)
    assert all(after[file] == stamp for file, stamp in times.items()), "what was finished is not run again"
    for trial in trials:
        epochs = [row["epoch"] for row in read_epochs(directory.trial(trial.trial))]
        assert epochs == list(range(1, EPOCHS + 1 + trial.is_baseline)), "each epoch once"
    interrupted = [trial.trial for trial in before.values() if trial.epochs and trial.state != "complete"]
    for name in interrupted:
        rows = (directory.trial(name) / "starts.jsonl").read_text(encoding="utf-8").splitlines()
        assert json.loads(rows[-1])["epochs_before"] >= len(before[name].epochs), "it goes on where it was"
    assert not [file for file in after if "checkpoint" in file or "/locks/" in file]

    mirror = directory.mirror
    assert mirror is not None
    mirror.pull(directory.search_log)
    recorded = open_optuna(directory, directory.read_study_file()).trials
    lams = {trial.trial: trial.lam for trial in trials}
    assert {trial.user_attrs["trial"]: trial.params["lam"] for trial in recorded} == {
        name: pytest.approx(lam) for name, lam in lams.items() if name != BASELINE
    }
    assert {trial.state.name for trial in recorded} == {"COMPLETE"}

    front = json.loads(nt_study("front", "killed", "--studies", address, "--json"))
    assert front["front"]
    nt_study("export", "killed", "--studies", address, "--out", tmp_path / "knee")
    load_exported(tmp_path / "knee")


def files_of(directory: StudyDirectory) -> dict[str, tuple[int, int]]:
    assert directory.mirror is not None
    found = directory.mirror.files(directory.path)
    return {file.relative_to(directory.path).as_posix(): stamp for file, stamp in found.items()}
