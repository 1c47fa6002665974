"""A study over three nodes of which one is lost and another one joins: trials go on from their last epoch."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from running_cluster import RunningCluster

from study.storage.directory import StudyDirectory
from study.storage.summaries import summarise

EPOCHS = 100  # long enough for trials on three nodes to be in their middle together
STAGE = {"name": "train", "epochs": EPOCHS, "optimizer": "adamw", "lr": 1e-3, "weight_decay": 0, "schedule": "constant"}
STUDY: dict[str, Any] = {
    "baseline": "hyperiqa",
    "preset": "smoke",
    "trials": 3,
    "first_points": [],
    "sampler": "random",
    "resources_per_trial": {"cpu": 1, "custom": {"slot": 1}},
    "recipe": {"init": "scratch", "stages": [STAGE]},
}


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def wait_for(condition: Callable[[], bool], running: subprocess.Popen[str], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def stores_of(cache: Path) -> set[Path]:
    """The decoded images of manifests that a node keeps."""
    return set((cache / "nt-study").glob("csv-*/pixels.u8"))


@pytest.mark.slow
def test_trials_outlive_a_lost_node_and_use_a_new_one(cluster: RunningCluster, tmp_path: Path, manifest: Path) -> None:
    own = manifest.with_name("fewer.csv")  # no other study's images
    pd.read_csv(manifest).iloc[1:].to_csv(own, index=False)
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"data": f"csv:{own}"}), encoding="utf-8")
    stores_before = [stores_of(cache) for cache in cluster.caches]
    running = cluster.start("launch", path, "--name", "lost", "--studies", tmp_path, "--address", cluster.address)
    directory = StudyDirectory(tmp_path / "lost")

    def starts() -> dict[str, list[dict[str, Any]]]:
        return {folder.name: read_rows(folder / "starts.jsonl") for folder in directory.trials.glob("*")}

    def half_trained() -> dict[int, str]:
        """Number of a node -> the trial that is in the middle of its training there."""
        return {
            cluster.nodes.index(rows[-1]["node"]): trial
            for trial, rows in starts().items()
            if rows and 3 <= len(read_rows(directory.trial(trial) / "epochs.jsonl")) < EPOCHS - 20
        }

    wait_for(lambda: set(half_trained()) == {0, 1, 2}, running)
    lost, gone = half_trained()[2], cluster.nodes[2]
    cluster.kill(2)
    cluster.replace(2)
    output, _ = running.communicate(timeout=300)
    assert running.returncode == 0, output

    assert [trial.state for trial in summarise(directory)] == ["complete"] * 4
    for trial, rows in starts().items():
        assert len(rows) == 1 + (trial == lost)
        epochs = [row["epoch"] for row in read_rows(directory.trial(trial) / "epochs.jsonl")]
        assert epochs == list(range(1, EPOCHS + 1)), "each epoch once"
    first, second = starts()[lost]
    assert first["node"] == gone and first["epochs_before"] == 0
    assert second["node"] != gone and second["epochs_before"] >= 3
    used = {row["node"] for rows in starts().values() for row in rows}
    assert used == {gone, *cluster.nodes}, "the new node got a trial, too"
    for cache, before in zip(cluster.caches, stores_before, strict=True):
        assert len(stores_of(cache) - before) == 1, "decoded once on a node, for however many trials"
