"""A cluster that starts with a head alone: Ray's autoscaler adds workers as the study asks for them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

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


@pytest.mark.slow
def test_a_study_has_its_cluster_grow_from_nothing(tmp_path: Path, manifest: Path) -> None:
    """Everything runs in a process namespace of its own and ends with the driver."""
    address = f"127.0.0.1:{free_port()}"
    config = tmp_path / "ray_bootstrap_config.yaml"  # in the home folder: where `ray up` leaves it on a head
    config.write_text(yaml.safe_dump(cluster_file(address)), encoding="utf-8")
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(STUDY | {"data": f"csv:{manifest}"}), encoding="utf-8")
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", f"--autoscaling-config={config}"]
    ray += ["--node-ip-address=127.0.0.1", f"--port={address.partition(':')[2]}", "--num-cpus=0"]
    ray += ["--object-store-memory=80000000", "--include-dashboard=false", "--min-worker-port=0", "--max-worker-port=0"]
    launch = [sys.executable, "-m", "study.cli", "launch", str(study), "--name", "grown", "--studies", str(tmp_path)]
    both = f"{shlex.join(ray)} && {shlex.join([*launch, '--address', address])}"
    namespaces = ["unshare", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    ran = subprocess.run(
        [*namespaces, "sh", "-c", both],
        env=os.environ
        | {
            "HOME": str(tmp_path),
            "RAY_FAKE_CLUSTER": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_AUTH_MODE": "disabled",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "nt-study: waiting for a machine that fits a trial" in ran.stderr
    directory = StudyDirectory(tmp_path / "grown")
    trials = summarise(directory)
    assert [trial.state for trial in trials] == ["complete"] * 2
    starts = [(directory.trial(trial.trial) / "starts.jsonl").read_text(encoding="utf-8") for trial in trials]
    nodes = {json.loads(row)["node"][-5:] for rows in starts for row in rows.splitlines()}
    assert nodes == {"00001", "00002"}, "the numbers that the provider gave its workers"
