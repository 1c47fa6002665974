"""One Ray cluster of three nodes for the tests of this room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from object_store import ObjectStore
from PIL import Image
from ports import free_port
from running_cluster import RunningCluster

from trainables.data import open_dataset

TOKEN = "0123456789abcdef" * 2
IMAGES = 100


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, object_store: ObjectStore) -> Iterator[RunningCluster]:
    """Three nodes of one `slot`; the first has two (pretended) GPUs and the dashboard too, the second `far`.

    Each has a cache of its own, and all may use the object store. Joining takes a token.
    """
    caches = [tmp_path_factory.mktemp(f"node{number}") for number in range(3)]
    nodes: list[dict[str, Any]] = [{"num_cpus": 4, "resources": {"slot": 1}} for _ in range(3)]
    nodes[0] |= {"num_gpus": 2, "include_dashboard": True, "dashboard_port": free_port()}
    nodes[0]["dashboard_agent_listen_port"] = free_port()
    nodes[1]["resources"] = {"slot": 1, "far": 1}
    for node, cache in zip(nodes, caches, strict=True):
        node["env_vars"] = {"XDG_CACHE_HOME": str(cache)}
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # jobs are started with the `python` found there
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "XDG_CACHE_HOME": str(caches[0]),
        "RAY_health_check_initial_delay_ms": "2000",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "1000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_prestart_worker_first_driver": "0",  # or each of many drivers has every node start processes for nothing
        **object_store.environment,
    }
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("serve_cluster.py")), json.dumps(nodes)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    running = RunningCluster(process, caches, environment)
    ready = running.hear()
    running.address, running.dashboard, running.nodes = ready["address"], f"http://{ready['dashboard']}", ready["nodes"]
    yield running
    assert process.stdin is not None
    process.stdin.close()
    process.wait(60)


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set as files: some of the embedded images, of several contents."""
    folder = tmp_path_factory.mktemp("images")
    images = open_dataset("photos:small")
    rows = images.table.iloc[np.linspace(0, len(images.table) - 1, IMAGES).astype(int)]
    for position in rows.index:
        Image.fromarray(np.asarray(images.store[int(position)])).save(folder / f"{position}.png")
    table = rows.assign(image=[f"{position}.png" for position in rows.index])
    table[["image", "mos", "content"]].to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"
