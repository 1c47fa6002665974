"""Whatever keeps a study from running on a cluster is one sentence, before any trial starts."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from object_store import ObjectStore
from ports import free_port
from running_cluster import RunningCluster, said_by

pytestmark = pytest.mark.slow

DRIVER = """
import json, os, sys
from pathlib import Path

from search_spaces.schema import load_study_file
from study.errors import StudyError
from study.cluster.session import start_ray
from study.storage.mirror import studies_folder
from study.cluster.submit import submit

studies = studies_folder(sys.argv[1])
said = {}

def attempt(name, address, **overrides):
    os.environ["RAY_ADDRESS"] = address
    try:
        start_ray(load_study_file("hyperiqa", overrides=overrides), studies)
    except StudyError as error:
        said[name] = str(error)

"""
"""The beginning of a driver's script: `attempt` notes under a name what a launch is refused with."""


def drive(cluster: RunningCluster, studies: Path, script: str, **environment: str) -> dict[str, Any]:
    program = DRIVER + script + "\nprint(json.dumps(said))"
    return said_by(program, str(studies), cluster.address, environment=cluster.environment | environment)


def test_a_trial_that_fits_nowhere_starts_no_study(cluster: RunningCluster, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text("baseline: hyperiqa\npreset: smoke\nresources_per_trial: {cpu: 1, gpu: 4}\n", encoding="utf-8")
    ran = cluster.run("launch", study, "--studies", tmp_path / "studies", "--address", cluster.address)
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert ran.stderr.splitlines()[-1] == (
        "nt-study: one trial asks for 4 GPU and the largest node has 2; "
        "lower resources_per_trial in the study file or use a larger machine"
    )
    assert not (tmp_path / "studies").exists()


@pytest.fixture(scope="module")
def said(cluster: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one driver met, which tried many things."""
    studies = tmp_path_factory.mktemp("folder") / "studies"
    script = """
attempt("closed", "127.0.0.1:9")
attempt("client", "ray://127.0.0.1:10001")
try:
    submit("http://127.0.0.1:9", ["launch", "hyperiqa"])
except StudyError as error:
    said["dashboard"] = str(error)
import ray
ray.__version__ = "2.59.0"
attempt("version", sys.argv[2])
ray.__version__ = "2.60.0"
attempt("custom", sys.argv[2], resources_per_trial={"cpu": 1, "custom": {"tpu": 1}})
attempt("together", sys.argv[2], resources_per_trial={"cpu": 4, "gpu": 2, "custom": {"far": 1}})
ray.shutdown()
attempt("images", sys.argv[2], data="csv:images/manifest.csv")
ray.shutdown()
attempt("weights", sys.argv[2], recipe={"init": "scratch", "weights": "/none/weights.pth"})
ray.shutdown()

os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"] = json.dumps({"runtime_env": {}, "metadata": {}})
attempt("nothing", sys.argv[2])
from study.cluster.resources import resources_of_trials
look = ray.remote(num_cpus=0)(lambda: [str(path) for path in (*Path().glob("*"), *Path().glob("*/*"))])
said["sent"] = ray.get(look.remote())
said["takes"] = resources_of_trials(load_study_file("hyperiqa")).model_dump()
ray.shutdown()
del os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"]

sys.version_info = (3, 11, 99)
attempt("python", sys.argv[2])
said["left"] = os.listdir(studies)
"""
    return drive(cluster, studies, script)


def test_each_obstacle_has_its_sentence(said: dict[str, Any]) -> None:
    assert "no Ray cluster answers at 127.0.0.1:9" in said["closed"]
    assert "cannot drive a study through ray://127.0.0.1:10001" in said["client"]
    assert "the dashboard at http://127.0.0.1:9 does not take the study" in said["dashboard"]
    assert "runs Ray 2.60.0 and this is Ray 2.59.0" in said["version"]
    assert "one trial asks for 1 tpu and the largest node has 0" in said["custom"]
    assert "one trial asks for 4 CPU and 2 GPU and 1 far and no node has them all" in said["together"]
    assert f"has no images at {Path.cwd() / 'images/manifest.csv'}" in said["images"]
    assert "has no weights at /none/weights.pth" in said["weights"]
    assert "started with: Ray: 2.60.0 Python: 3.11.99; install the same versions here" in said["python"]
    assert said["left"] == [], "the look at the nodes leaves nothing behind"


def test_the_working_tree_travels_without_what_no_trial_needs(said: dict[str, Any]) -> None:
    """From a driver that is a Ray job, too, if the job has brought none."""
    assert "nothing" not in said
    sent = set(said["sent"])
    assert {"pyproject.toml", "study", "search_spaces", "analysis", "trainables", "trainables/data"} <= sent
    assert not sent & {".git", ".venv", "docs", "tests", "data", "studies", "mlruns", "study/__pycache__"}


def test_a_trial_takes_a_gpu_where_some_node_has_one(said: dict[str, Any]) -> None:
    assert said["takes"] == {"cpu": 1.0, "gpu": 1.0, "custom": {}}


def test_nobody_joins_without_the_token(cluster: RunningCluster, tmp_path: Path) -> None:
    for wrong in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "f" * 32}):
        said = drive(cluster, tmp_path, 'attempt("token", sys.argv[2])', **wrong)
        assert "wants a token and did not get the right one" in said["token"]


def test_a_node_that_may_not_write_or_use_the_bucket_is_named(
    cluster: RunningCluster, object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fourth node has the folder mounted for reading only, and looks for the store where nothing listens."""
    studies = tmp_path / "studies"
    studies.mkdir()
    address = object_store.fresh(monkeypatch) + "/studies"
    endpoint = f"http://127.0.0.1:{free_port()}"
    mark = f"beside_{uuid.uuid4().hex}"
    script = f"""
import time
import ray
ray.init(address=sys.argv[2], log_to_driver=False)
while "{mark}" not in ray.cluster_resources():
    time.sleep(0.2)
ray.shutdown()
attempt("folder", sys.argv[2])
ray.shutdown()
studies = studies_folder("{address}")
attempt("bucket", sys.argv[2])
"""
    before = f"mount --bind {studies} {studies} && mount -o remount,bind,ro {studies}"
    with node_beside(cluster, mark, before, AWS_ENDPOINT_URL=endpoint):
        said = drive(cluster, studies, script)
    assert f"cannot write to the studies folder {studies}: Read-only file system" in said["folder"]
    assert not list(studies.iterdir())
    assert f"cannot use the studies: {address} cannot be" in said["bucket"]
    assert f"nothing listens at the endpoint {endpoint}" in said["bucket"]


def test_a_machine_that_has_still_to_come_is_asked_before_any_trial(cluster: RunningCluster, tmp_path: Path) -> None:
    """No node fits a trial, and the cluster's file, as `ray up` leaves it on the head, says that such a one may come.

    It comes once the launch waits for it, and has its own, empty folder where the driver has the studies.
    """
    studies = tmp_path / "studies"
    studies.mkdir()
    mark = f"late_{uuid.uuid4().hex}"
    kinds = {"late": {"resources": {"CPU": 1, mark: 1}, "max_workers": 1}}
    (tmp_path / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump({"available_node_types": kinds}))
    is_waited_for = f'until [ "$(ls -A {studies})" ]; do sleep 0.2; done'
    with node_beside(cluster, mark, f"{is_waited_for}; mount -t tmpfs tmpfs {studies}"):
        wanted = {"cpu": 1, "custom": {mark: 1}}
        script = f'attempt("studies", sys.argv[2], resources_per_trial={wanted})'
        said = drive(cluster, studies, script, HOME=str(tmp_path))["studies"]
    assert f"does not see the studies folder {studies}" in said
    assert "give --studies a folder that all nodes share" in said
    assert not list(studies.iterdir())


@contextlib.contextmanager
def node_beside(cluster: RunningCluster, mark: str, before: str, **environment: str) -> Iterator[None]:
    """A fourth node, with mounts of its own, that runs `before` and then joins with one of the resource `mark`."""
    start = f"{sys.executable} -m ray.scripts.scripts start --address={cluster.address} --num-cpus=1 --block"
    with subprocess.Popen(
        [
            "unshare",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            f"{before} && exec {start} --resources='{{\"{mark}\": 1}}'",
        ],
        env=cluster.environment | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as node:
        try:
            yield
        finally:
            node.terminate()
            node.wait(30)
