"""A study that the cluster drives by itself: sent to its dashboard from a machine that is not of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from running_cluster import RunningCluster
from tunnel import Tunnel

from study.cluster.submit import command_of, without_address
from study.storage.directory import StudyDirectory

STAGE = {"name": "train", "epochs": 4, "optimizer": "adamw", "lr": 1e-3, "weight_decay": 0, "schedule": "constant"}
LONG = STAGE | {"epochs": 400}
STUDY = {
    "baseline": "hyperiqa",
    "preset": "smoke",
    "trials": 1,
    "recipe": {"init": "scratch", "stages": [STAGE]},
    "first_points": [],
    "sampler": "random",
    "resources_per_trial": {"cpu": 1, "custom": {"slot": 1}},
}


@pytest.mark.slow
def test_a_study_is_sent_to_the_dashboard_and_goes_on_as_a_job(
    cluster: RunningCluster, tmp_path: Path, manifest: Path
) -> None:
    """The study file lies where only the sender looks: beside it. What it names is looked for on the cluster."""
    laptop, studies = tmp_path / "laptop", tmp_path / "studies"
    laptop.mkdir()
    beside = os.path.relpath(manifest, laptop)
    (laptop / "mine.yaml").write_text(yaml.safe_dump(STUDY | {"data": f"csv:{beside}"}), encoding="utf-8")
    options = ("--studies", str(studies), "--address")
    ran = cluster.run("launch", "mine.yaml", "--name", "job", *options, cluster.dashboard, folder=laptop)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "it goes on without this terminal; stop it: ray job stop raysubmit_" in ran.stdout
    assert "paths of this command are looked for on the cluster's machines" in ran.stdout
    assert StudyDirectory(studies / "job").read_study_file().data == f"csv:{manifest}"
    assert "Study 'job': 2 complete" in ran.stdout, "what the head prints is shown here"

    status = ["nt-study", "status", "job", "--studies", str(studies), "--json"]
    ran = subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", cluster.dashboard, "--", *status],
        env=cluster.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '"complete": 2' in ran.stdout, "Ray's own way to the head does, too"


@pytest.fixture
def sent(cluster: RunningCluster, tmp_path: Path, manifest: Path) -> Iterator[tuple[subprocess.Popen[str], Tunnel]]:
    """A study that was sent to the dashboard through a tunnel, and runs."""
    content = yaml.safe_dump(STUDY | {"data": f"csv:{manifest}", "recipe": {"init": "scratch", "stages": [LONG]}})
    (tmp_path / "long.yaml").write_text(content, encoding="utf-8")
    with Tunnel(cluster.dashboard) as tunnel:
        options = ("--name", "job", "--studies", tmp_path / "studies", "--address", tunnel.address)
        process = cluster.start("launch", tmp_path / "long.yaml", *options)
        assert process.stdout is not None
        for line in process.stdout:
            if "baseline" in line:  # has begun
                break
        yield process, tunnel
    process.kill()
    process.communicate()
    for job in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(tmp_path) in " ".join(job.cmdline()):
                job.kill()


@pytest.mark.slow
def test_a_tunnel_that_closes_is_one_sentence_and_the_job_goes_on(
    sent: tuple[subprocess.Popen[str], Tunnel],
) -> None:
    process, tunnel = sent
    tunnel.close()
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2 and "Traceback" not in said
    assert f"the dashboard at {tunnel.address} does not answer any more; raysubmit_" in said.splitlines()[-1]
    assert "follow it with: ray job logs raysubmit_" in said.splitlines()[-1]


@pytest.mark.slow
def test_a_tunnel_that_carries_nothing_any_more_is_noticed(sent: tuple[subprocess.Popen[str], Tunnel]) -> None:
    process, tunnel = sent
    tunnel.carries = False
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2 and "does not answer any more" in said.splitlines()[-1] and "Traceback" not in said


@pytest.mark.slow
def test_a_job_whose_supervisor_dies_is_one_sentence(sent: tuple[subprocess.Popen[str], Tunnel]) -> None:
    process, tunnel = sent
    for supervisor in psutil.process_iter(["name"]):
        if "JobSupervisor" in supervisor.info["name"]:
            supervisor.kill()
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2 and "Traceback" not in said
    assert "the cluster has ended raysubmit_" in said.splitlines()[-1]
    assert f"resume NAME --address {tunnel.address}" in said.splitlines()[-1]


def test_the_cluster_runs_the_command_without_the_address() -> None:
    command = ["launch", "hyperiqa", "--address", "http://a:8265", "--trials", "3", "--address=http://b", "--name", "x"]
    assert without_address(command) == ["launch", "hyperiqa", "--trials", "3", "--name", "x"]


def test_a_study_file_goes_along_whatever_it_holds(tmp_path: Path) -> None:
    """The shell hands the command the same words, and a file with the same bytes."""
    path = tmp_path / "it's mine.yaml"
    path.write_text("name: 'a $HOME `id` \\n %s'\n# \"end\"\n", encoding="utf-8")
    command = command_of(["launch", str(path), "--name", "two words", "none.yaml"])
    assert "exec python -m study.cli" in command
    shown = command.replace("exec python -m study.cli", 'show() { cat "$2"; shift 2; printf "|%s" "$@"; }; show')
    said = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, check=True).stdout
    assert said == path.read_text(encoding="utf-8") + "|--name|two words|none.yaml"
