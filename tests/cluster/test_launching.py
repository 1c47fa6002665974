"""Whatever keeps a study from running on a cluster is one sentence, before any trial starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from running_cluster import RunningCluster

from study.submit import without_address

pytestmark = pytest.mark.slow

DRIVER = """
import json, os, sys
from pathlib import Path

from search_spaces.schema import load_study_file
from study.errors import StudyError
from study.ray_session import start_ray
from study.submit import submit

studies = Path(sys.argv[1])
said = {}

def attempt(name, address, **overrides):
    os.environ["RAY_ADDRESS"] = address
    try:
        start_ray(load_study_file("hyperiqa", overrides=overrides), studies)
    except StudyError as error:
        said[name] = str(error)

"""
"""The beginning of a driver's script: `attempt` notes under a name what a launch is refused with."""


def drive(cluster: RunningCluster, studies: Path, script: str, **environment: str) -> dict[str, str]:
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
""",
    )
    assert "no Ray cluster answers at 127.0.0.1:9" in said["closed"]
    assert "cannot drive a study through ray://127.0.0.1:10001" in said["client"]
    assert "the dashboard at http://127.0.0.1:9 does not take the study" in said["dashboard"]
    assert "runs Ray 2.60.0 and this is Ray 2.59.0" in said["version"]
    assert "one trial asks for 1 tpu and the largest node has 0" in said["custom"]
    assert "one trial asks for 4 CPU and 2 GPU and 1 far and no node has them all" in said["together"]
    assert "cannot find the images at images/manifest.csv" in said["images"]
    assert not list((tmp_path / "studies").iterdir()), "the look at the nodes leaves nothing behind"


def test_nobody_joins_without_the_token(cluster: RunningCluster, tmp_path: Path) -> None:
    for wrong in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "f" * 32}):
        said = drive(cluster, tmp_path, 'attempt("token", sys.argv[2])', **wrong)
        assert "wants a token and did not get the right one" in said["token"]


def test_a_folder_that_one_node_does_not_share_is_refused(cluster: RunningCluster, tmp_path: Path) -> None:
    """A fourth node has its own, empty folder where the driver has the studies, as machines without NFS do."""
    studies = tmp_path / "studies"
    studies.mkdir()
    joining = 'mount -t tmpfs tmpfs "$1" && exec "$2" -m ray.scripts.scripts start --address="$3" --num-cpus=0 --block'
    elsewhere = ["unshare", "--map-root-user", "--mount", "sh", "-c", joining, "sh"]
    with subprocess.Popen(
        [*elsewhere, str(studies), sys.executable, cluster.address],
        env=cluster.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as node:
        try:
            script = """
import time
import ray
ray.init(address=sys.argv[2], log_to_driver=False)
while len([node for node in ray.nodes() if node["Alive"]]) < 4:
    time.sleep(0.2)
ray.shutdown()
attempt("studies", sys.argv[2])
"""
            said = drive(cluster, studies, script)
        finally:
            node.terminate()
            node.wait(30)
    assert f"does not see the studies folder {studies}" in said["studies"]
    assert "give --studies a folder that all nodes share" in said["studies"]
    assert not list(studies.iterdir())


def test_the_cluster_runs_the_command_without_the_address() -> None:
    command = ["launch", "hyperiqa", "--address", "http://a:8265", "--trials", "3", "--address=http://b", "--name", "x"]
    assert without_address(command) == ["launch", "hyperiqa", "--trials", "3", "--name", "x"]
