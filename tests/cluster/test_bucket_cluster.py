"""A driver and a node that share nothing but a bucket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from object_store import ObjectStore
from running_cluster import RunningCluster

from benchmarks.torture.small_study import write_study_file
from study.storage.directory import find
from study.storage.mirror import studies_folder
from study.storage.summaries import summarise

TRIALS = 2


@pytest.mark.slow
def test_driver_and_node_meet_in_the_bucket_alone(
    cluster: RunningCluster, object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = object_store.fresh(monkeypatch) + "/studies"
    path = write_study_file(tmp_path)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content |= {"trials": TRIALS, "resources_per_trial": {"cpu": 1, "custom": {"far": 1}}}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    ran = cluster.run("launch", path, "--name", "spread", "--studies", address, "--address", cluster.address)
    assert ran.returncode == 0, ran.stdout + ran.stderr

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    directory = find(studies_folder(address), "spread")
    trials = summarise(directory)
    assert [trial.state for trial in trials] == ["complete"] * (TRIALS + 1)
    starts = [(directory.trial(trial.trial) / "starts.jsonl").read_text(encoding="utf-8") for trial in trials]
    nodes = {json.loads(row)["node"] for rows in starts for row in rows.splitlines()}
    assert nodes == {cluster.nodes[1]}
    node = cluster.caches[1] / "nt-study"
    assert not (node / "studies").exists(), "the driver was elsewhere"
    assert not list(node.rglob("model.safetensors")), "a node keeps no trial that has ended"
