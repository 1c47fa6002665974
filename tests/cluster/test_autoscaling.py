"""A cluster that starts with a head alone: Ray's autoscaler adds workers as the study asks for them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from ports import free_port

from study.storage.directory import StudyDirectory
from study.storage.summaries import summarise

WORKERS = 2
STAGE = {"name": "train", "epochs": 30, "optimizer": "adamw", "lr": 1e-3, "weight_decay": 0, "schedule": "constant"}
STUDY = {
    "baseline": "hyperiqa",
    "preset": "smoke",
    "trials": 1,
    "first_points": [],
    "sampler": "random",
    "resources_per_trial": {"cpu": 1, "custom": {"slot": 1}},
    "recipe": {"init": "scratch", "stages": [STAGE]},
}
COMMANDS_AND_FILES = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
    "cluster_synced_files",
    "rsync_exclude",
    "rsync_filter",
)
"""What the autoscaler insists on, and a pretended machine has none of."""


def cluster_file(address: str) -> dict[str, Any]:
    """Ray's provider of pretended machines: each worker is a node on this one."""
    worker = {"CPU": 1, "slot": 1, "object_store_memory": 80_000_000}
    provider = {
        "type": "fake_multinode",
        "gcs_address": address,
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    }
    nothing: dict[str, Any] = {key: [] for key in COMMANDS_AND_FILES}
    return nothing | {
        "cluster_name": "autoscaled",
        "max_workers": WORKERS,
        "provider": provider,
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": worker, "node_config": {}, "min_workers": 0, "max_workers": WORKERS},
        },
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 5,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
    }


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """For a cluster whose processes, which Ray detaches, end with the test: they are those that inherit it."""
    mark = {"NT_STUDY_TEST": uuid.uuid4().hex}
    autoscaler = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    yield os.environ | mark | autoscaler | {"HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled"}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if mark.items() <= process.environ().items():
                process.kill()


@pytest.mark.slow
@pytest.mark.lab
def test_a_study_has_its_cluster_grow_from_nothing(environment: dict[str, str], tmp_path: Path, manifest: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    config = tmp_path / "ray_bootstrap_config.yaml"  # in the home folder: where `ray up` leaves it on a head
    config.write_text(yaml.safe_dump(cluster_file(address)), encoding="utf-8")
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(STUDY | {"data": f"csv:{manifest}"}), encoding="utf-8")

    def run(module: str, *command: str | Path) -> subprocess.CompletedProcess[str]:
        ran = subprocess.run(
            [sys.executable, "-m", module, *map(str, command)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran

    head = ["--node-ip-address=127.0.0.1", f"--port={address.partition(':')[2]}", f"--autoscaling-config={config}"]
    sizes = ["--num-cpus=0", "--object-store-memory=80000000", "--min-worker-port=0", "--max-worker-port=0"]
    run("ray.scripts.scripts", "start", "--head", *head, *sizes, "--include-dashboard=false")
    ran = run("study.cli", "launch", study, "--name", "grown", "--studies", tmp_path, "--address", address)
    assert "nt-study: waiting for a machine that fits a trial" in ran.stderr
    directory = StudyDirectory(tmp_path / "grown")
    trials = summarise(directory)
    assert [trial.state for trial in trials] == ["complete"] * 2
    starts = [(directory.trial(trial.trial) / "starts.jsonl").read_text(encoding="utf-8") for trial in trials]
    nodes = {json.loads(row)["node"][-5:] for rows in starts for row in rows.splitlines()}
    assert nodes == {"00001", "00002"}, "the numbers that the provider gave its workers"
