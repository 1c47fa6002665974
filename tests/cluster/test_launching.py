"""Whatever keeps a study from running on a cluster is one sentence, before any trial starts."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from object_store import ObjectStore
from ports import free_port
from running_cluster import RunningCluster

from study.cluster.submit import without_address

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


def drive(cluster: RunningCluster, studies: str | Path, script: str, **environment: str) -> dict[str, str]:
    ran = subprocess.run(
        [sys.executable, "-c", DRIVER + script + "\nprint(json.dumps(said))", str(studies), cluster.address],
        env=cluster.environment | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    said: dict[str, str] = json.loads(ran.stdout.splitlines()[-1])
    return said


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


def test_each_obstacle_has_its_sentence(cluster: RunningCluster, tmp_path: Path) -> None:
    said = drive(
        cluster,
        tmp_path / "studies",
        """
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
sys.version_info = (3, 11, 99)
attempt("python", sys.argv[2])
""",
    )
    assert "no Ray cluster answers at 127.0.0.1:9" in said["closed"]
    assert "cannot drive a study through ray://127.0.0.1:10001" in said["client"]
    assert "the dashboard at http://127.0.0.1:9 does not take the study" in said["dashboard"]
    assert "runs Ray 2.60.0 and this is Ray 2.59.0" in said["version"]
    assert "one trial asks for 1 tpu and the largest node has 0" in said["custom"]
    assert "one trial asks for 4 CPU and 2 GPU and 1 far and no node has them all" in said["together"]
    assert "cannot find the images at images/manifest.csv" in said["images"]
    assert "started with: Ray: 2.60.0 Python: 3.11.99; install the same versions here" in said["python"]
    assert not list((tmp_path / "studies").iterdir()), "the look at the nodes leaves nothing behind"


def test_nobody_joins_without_the_token(cluster: RunningCluster, tmp_path: Path) -> None:
    for wrong in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "f" * 32}):
        said = drive(cluster, tmp_path, 'attempt("token", sys.argv[2])', **wrong)
        assert "wants a token and did not get the right one" in said["token"]


def test_a_folder_that_one_node_does_not_share_is_refused(cluster: RunningCluster, tmp_path: Path) -> None:
    """A fourth node has its own, empty folder where the driver has the studies, as machines without NFS do."""
    studies = tmp_path / "studies"
    studies.mkdir()
    said = launch_beside(cluster, studies, f"mount -t tmpfs tmpfs {studies}")
    assert f"does not see the studies folder {studies}" in said
    assert "give --studies a folder that all nodes share" in said
    assert not list(studies.iterdir())


def test_a_folder_that_one_node_cannot_write_to_is_refused(cluster: RunningCluster, tmp_path: Path) -> None:
    """A fourth node has the studies mounted for reading only."""
    studies = tmp_path / "studies"
    studies.mkdir()
    said = launch_beside(cluster, studies, f"mount --bind {studies} {studies} && mount -o remount,bind,ro {studies}")
    assert f"cannot write to the studies folder {studies}: Read-only file system" in said
    assert not list(studies.iterdir())


def test_a_node_that_may_not_use_the_bucket_is_named(
    cluster: RunningCluster, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fourth node looks for the store where nothing listens, as one whose container was not told of it."""
    address = object_store.fresh(monkeypatch) + "/studies"
    endpoint = f"http://127.0.0.1:{free_port()}"
    said = launch_beside(cluster, address, "true", AWS_ENDPOINT_URL=endpoint)
    assert f"cannot use the studies: {address} cannot be" in said
    assert f"nothing listens at the endpoint {endpoint}" in said


def launch_beside(cluster: RunningCluster, studies: str | Path, mount: str, **environment: str) -> str:
    """What a launch is refused with once a fourth node has joined, for which `mount` has changed what it sees."""
    mark = f"beside_{uuid.uuid4().hex}"
    start = f"{sys.executable} -m ray.scripts.scripts start --address={cluster.address} --num-cpus=0 --block"
    joining = f"{mount} && exec {start} --resources='{{\"{mark}\": 1}}'"
    with subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", joining],
        env=cluster.environment | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as node:
        try:
            script = f"""
import time
import ray
ray.init(address=sys.argv[2], log_to_driver=False)
while "{mark}" not in ray.cluster_resources():
    time.sleep(0.2)
ray.shutdown()
attempt("studies", sys.argv[2])
"""
            return drive(cluster, studies, script)["studies"]
        finally:
            node.terminate()
            node.wait(30)


def test_the_cluster_runs_the_command_without_the_address() -> None:
    command = ["launch", "hyperiqa", "--address", "http://a:8265", "--trials", "3", "--address=http://b", "--name", "x"]
    assert without_address(command) == ["launch", "hyperiqa", "--trials", "3", "--name", "x"]
