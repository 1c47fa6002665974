"""A study over three nodes of which one is lost: what ran there goes on elsewhere, from its last epoch."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running_cluster import RunningCluster

from study.storage.directory import StudyDirectory
from study.storage.summaries import summarise

EPOCHS = 150  # long enough for trials on two nodes to be in their middle together
STUDY = f"""
baseline: hyperiqa
preset: smoke
trials: 2
first_points: []
sampler: random
data: csv:{{manifest}}
resources_per_trial: {{{{cpu: 1, custom: {{{{slot: 1}}}}}}}}
recipe:
  init: scratch
  stages: [{{{{name: train, epochs: {EPOCHS}, optimizer: adamw, lr: 1.0e-3, weight_decay: 0, schedule: constant}}}}]
"""


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def wait_for(condition: Callable[[], bool], running: subprocess.Popen[str], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def stores_of(cache: Path) -> set[Path]:
    """The decoded images of manifests that a node keeps."""
    return set((cache / "nt-study").glob("csv-*/pixels.u8"))


@pytest.mark.slow
def test_trials_of_a_lost_node_go_on_elsewhere(cluster: RunningCluster, tmp_path: Path, manifest: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.format(manifest=manifest), encoding="utf-8")
    stores_before = [stores_of(cache) for cache in cluster.caches]
    command = ["launch", str(study), "--name", "lost", "--studies", str(tmp_path), "--address", cluster.address]
    running = subprocess.Popen(
        [sys.executable, "-m", "study.cli", *command],
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    directory = StudyDirectory(tmp_path / "lost")

    def half_trained() -> dict[str, int]:
        """Trials in the middle of their training, and the node; the driver's is left out, for it has to go on."""
        found = {}
        for folder in directory.trials.glob("*"):
            *_, node = ["", *(start["node"] for start in read_rows(folder / "starts.jsonl"))]
            if node in cluster.nodes[1:] and 3 <= len(read_rows(folder / "epochs.jsonl")) < EPOCHS - 30:
                found[folder.name] = cluster.nodes.index(node)
        return found

    wait_for(lambda: bool(half_trained()), running, 180)
    lost, number = next(iter(half_trained().items()))
    cluster.kill(number)
    output, _ = running.communicate(timeout=300)
    assert running.returncode == 0, output

    trials = summarise(directory)
    assert [trial.state for trial in trials] == ["complete"] * 3
    for trial in trials:
        epochs = [row["epoch"] for row in read_rows(directory.trial(trial.trial) / "epochs.jsonl")]
        assert epochs == list(range(1, EPOCHS + 1)), "each epoch once"
    first, second = read_rows(directory.trial(lost) / "starts.jsonl")
    assert first["node"] == cluster.nodes[number] and first["epochs_before"] == 0
    assert second["node"] in set(cluster.nodes) - {first["node"]} and second["epochs_before"] >= 3
    used = {row["node"] for path in directory.trials.glob("*/starts.jsonl") for row in read_rows(path)}
    for node, cache, before in zip(cluster.nodes, cluster.caches, stores_before, strict=True):
        built = stores_of(cache) - before
        assert len(built) == 1 if node in used else len(built) <= 1, "decoded once on a node, for however many trials"
    assert len(used) > 1
