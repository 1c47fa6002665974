"""The Ray of a study on one machine is for this user and this machine alone."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from running_cluster import said_by

STUDY = """
import json, os, sys
from pathlib import Path

import grpc
import psutil
import ray
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

from search_spaces.schema import load_study_file
from study.cluster.session import start_ray

start_ray(load_study_file("hyperiqa", preset="smoke"), Path(sys.argv[1]))

@ray.remote
def worker():
    return ray.util.get_node_ip_address()

address = ray.get(worker.remote())
processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
listening = [
    (process.name(), connection.laddr.ip)
    for process in processes
    for connection in process.net_connections("inet")
    if connection.status == psutil.CONN_LISTEN
]
gcs = ray.get_runtime_context().gcs_address
service = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(grpc.insecure_channel(gcs))
try:
    service.CheckAlive(gcs_service_pb2.CheckAliveRequest(), timeout=20)
    answer = "OK"
except grpc.RpcError as error:
    answer = error.code().name
folder = Path(ray._private.worker._global_node.get_temp_dir_path())
print(json.dumps({
    "worker": address, "listening": listening, "without a token": answer, "folder": str(folder),
    "around it": os.stat(folder.parent).st_mode, "cluster switch": ray._private.ray_constants.ENABLE_RAY_CLUSTER,
}))
"""


@pytest.mark.slow
def test_a_study_s_own_ray_is_closed_to_others(tmp_path: Path) -> None:
    home = tmp_path / "home"
    token = home / ".ray" / "auth_token"
    token.parent.mkdir(parents=True)
    token.write_text("f" * 64, encoding="utf-8")
    token.chmod(0o644)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(home), "RAY_AUTH_MODE": "disabled"}
    said = said_by(STUDY, str(tmp_path / "studies"), environment=environment)
    assert said["worker"] == "127.0.0.1"
    assert {"gcs_server", "raylet"} <= {name for name, _ in said["listening"]}
    assert {address.removeprefix("::ffff:") for _, address in said["listening"]} == {"127.0.0.1"}
    assert said["without a token"] == "UNAUTHENTICATED"
    assert stat.S_IMODE(said["around it"]) == 0o700
    assert not Path(said["folder"]).parent.exists(), "it goes with the process"
    assert said["cluster switch"], "what joins a cluster later finds it by its address"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


FOLDER = """
import os, signal, sys
from study.cluster.local import _private_folder

print(_private_folder().parent, flush=True)
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_folder_of_a_killed_process_goes_with_the_next_one() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary, contextlib.ExitStack() as stack:

        def begin() -> tuple[subprocess.Popen[str], Path]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", FOLDER],
                    env=os.environ | {"TMPDIR": temporary},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            assert process.stdout is not None
            return process, Path(process.stdout.readline().strip())

        users = Path(temporary) / "nt-study-mine"
        users.mkdir()
        (killed, first), (alive, second), (kept, fourth) = begin(), begin(), begin()
        (fourth / "thesis.tex").write_text("mine")
        for process in (killed, kept):
            process.communicate("\n")
        assert first.exists() and fourth.exists(), "nobody could remove them"
        later, third = begin()
        assert not first.exists() and second.exists() and third.exists() and users.exists()
        assert (fourth / "thesis.tex").exists(), "a user's file keeps its folder"
        for process in (alive, later):
            process.communicate("\n")
