"""The shipped cluster files are complete but for what their user replaces, and the check finds each mistake."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from study.cluster.check import PLACEHOLDER, check_cluster, exact_versions, read_cluster_file
from study.commands.cluster import check
from study.errors import StudyError

ROOT = Path(__file__).parents[2]
AWS = ROOT / "cluster.yaml"
ON_PREMISES = ROOT / "docs" / "examples" / "cluster-onprem.yaml"
FILLED_IN = {
    "CHANGE-ME-your-address/32": "203.0.113.7/32",
    "CHANGE-ME-http://mlflow.example.org:5000": "http://mlflow.example.org:5000",
    "CHANGE-ME-ami": "ami-0123456789abcdef0",
    "CHANGE-ME-instance-profile-arn": "arn:aws:iam::123456789012:instance-profile/nt-study-worker",
    "CHANGE-ME-bucket": "a-bucket",
    "CHANGE-ME-head-address": "192.0.2.1",
    "CHANGE-ME-worker-address": "192.0.2.2",
    "CHANGE-ME-user": "someone",
}
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home with the files that the cluster files name, and the checkout as the current folder."""
    for name in (".ray/auth_token", ".ssh/id_ed25519"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("secret", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(ROOT)


def filled_in(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    for placeholder, value in FILLED_IN.items():
        text = text.replace(placeholder, value)
    config: dict[str, Any] = yaml.safe_load(text)
    return config


@pytest.mark.parametrize("path", [AWS, ON_PREMISES])
def test_a_shipped_file_needs_nothing_but_its_placeholders(path: Path) -> None:
    problems = check_cluster(read_cluster_file(path))
    assert problems, "the placeholders are noticed"
    assert all(PLACEHOLDER in problem for problem in problems), problems
    assert check_cluster(filled_in(path)) == []


def test_the_images_hold_what_the_lock_file_says() -> None:
    locked = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.M))
    pins = exact_versions()
    assert pins.keys() == {"ray", "torch", "torchvision"}
    assert pins == {name: locked[name] for name in pins}
    docker = filled_in(AWS)["docker"]
    for image in (docker["head_image"], docker["worker_image"]):
        assert f":{locked['ray']}-py311-" in image


def set_at(config: dict[str, Any], where: str, value: Any) -> None:
    *parents, last = where.split("/")
    for parent in parents:
        config = config[parent]
    if value is None:
        del config[last]
    else:
        config[last] = value


def head_start(old: str, new: str) -> tuple[str, list[str]]:
    command = filled_in(AWS)["head_start_ray_commands"][-1]
    assert old in command
    return "head_start_ray_commands", ["ray stop", command.replace(old, new)]


MISTAKES: dict[str, tuple[tuple[str, Any], str]] = {
    "a key that Ray does not know": (("max_worker", 3), "'max_worker' was unexpected"),
    "a typing error in a machine": (("available_node_types/gpu-spot/max_worker", 3), "'max_worker' was unexpected"),
    "no such head": (("head_node_type", "heda"), "`head_node_type` must be one of"),
    "a float resource": (("available_node_types/gpu-spot/resources", {"GPU": 0.5}), "0.5"),
    "a container without a name": (("docker/container_name", None), "Must provide a container"),
    "no name": (("cluster_name", None), "cluster_name is missing"),
    "workers of old": (("min_workers", 2), "min_workers at the top level is ignored"),
    "a head of old": (("head_node", {}), "head_node is a key of Ray 1"),
    "a region that is none": (("provider/region", "us-wset-2"), "no region 'us-wset-2' (did you mean 'us-west-2'?)"),
    "a provider key that is none": (("provider/regoin", "us-west-2"), "provider.regoin is no key"),
    "a machine that is none": (
        ("available_node_types/gpu-spot/node_config/InstanceType", "g5.2xlrage"),
        "EC2 has no 'g5.2xlrage' (did you mean 'g5.2xlarge'?)",
    ),
    "an option that is none": (("available_node_types/head/node_config/ImageID", "x"), "ImageID is no option"),
    "an image that is none": (("available_node_types/head/node_config/ImageId", "ubuntu"), "'ubuntu' is no AMI"),
    "Ray's own old image": (("available_node_types/head/node_config/ImageId", None), "ImageId is missing"),
    "spot instances kept": (("provider/cache_stopped_nodes", True), "spot instances cannot be stopped"),
    "another Ray": (("docker/worker_image", "rayproject/ray:2.59.0-py311-gpu"), "holds Ray 2.59.0; this project"),
    "two Pythons": (
        ("docker/worker_image", "rayproject/ray:2.60.0-py312-gpu"),
        "docker.head_image holds Python 3.11 and docker.worker_image holds Python 3.12",
    ),
    "another Python": (("docker/head_image", "rayproject/ray:2.60.0-py310-cpu"), "holds Python 3.10"),
    "any Ray": (("docker/head_image", "rayproject/ray:latest"), "does not say which Ray"),
    "another torch": (
        ("setup_commands", ["pip install -r ~/nt-study/requirements.lock torch==2.4.0"]),
        "setup_commands[0]: installs torch 2.4.0; this project is locked to torch",
    ),
    "the newest Ray": (("setup_commands", ["pip install -U 'ray[default]' torch"]), "whatever Ray is newest"),
    "nothing installed": (("setup_commands", ["true"]), "nothing installs this project's ray and torch"),
    "an open dashboard": (
        head_start("--dashboard-host=127.0.0.1", "--dashboard-host 0.0.0.0"),
        "--dashboard-host=0.0.0.0 shows",
    ),
    "an open cluster": (head_start("RAY_AUTH_MODE=token", ""), "write RAY_AUTH_MODE=token before 'ray start'"),
    "Ray's own health checks": (
        head_start("RAY_health_check_period_ms=1000", "RAY_health_check_period_ms=60000"),
        "a silently lost node is noticed after 183 s",
    ),
    "no autoscaler": (head_start("--autoscaling-config=~/ray_bootstrap_config.yaml", ""), "no worker is ever started"),
    "Ray's own start": (("worker_start_ray_commands", None), "worker_start_ray_commands: nothing calls 'ray start'"),
    "a worker by itself": (("worker_start_ray_commands", ["RAY_AUTH_MODE=token ray start"]), "'ray start' needs --add"),
    "no token": (("file_mounts", {"~/nt-study": "."}), "the nodes need the cluster's token"),
    "a source that is not there": (("file_mounts/~/x", "no/such/folder"), "no/such/folder, which does not exist here"),
    "no time-out": (("idle_timeout_minutes", None), "idle_timeout_minutes is missing"),
    "a head that works": (("available_node_types/head/resources", {"CPU": 2}), "or trials run beside the driver"),
    "a worker day and night": (("available_node_types/gpu-spot/min_workers", 1), "paid for day and night"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(mistake: str) -> None:
    (where, value), sentence = MISTAKES[mistake]
    config = filled_in(AWS)
    if where.startswith("file_mounts/"):
        config["file_mounts"]["~/x"] = value
    else:
        set_at(config, where, value)
    before = copy.deepcopy(config)
    problems = check_cluster(config)
    assert [problem for problem in problems if sentence in problem], problems
    assert len(problems) <= 2 and not any("\n" in problem for problem in problems), problems
    assert config == before


@pytest.mark.parametrize(
    ("where", "value", "sentence"),
    [
        ("provider/worker_ips", None, "provider.worker_ips is missing"),
        ("provider/worker_ip", ["192.0.2.3"], "no key of a local cluster (did you mean 'worker_ips'?)"),
        ("available_node_types", {"a": {"resources": {}, "node_config": {}}}, "listed in provider.worker_ips"),
        ("max_workers", 0, "max_workers is 0 and worker_ips lists 1"),
        ("auth/ssh_private_key", "~/.ssh/none", "there is no ~/.ssh/none here"),
    ],
)
def test_a_mistake_about_machines_of_ones_own(where: str, value: Any, sentence: str) -> None:
    config = filled_in(ON_PREMISES)
    set_at(config, where, value)
    assert [problem for problem in check_cluster(config) if sentence in problem]


def test_the_command_line_says_what_is_left_to_do(
    nt_study: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as left:
        check(AWS)
    assert left.value.exit_code == 1
    printed = capsys.readouterr().out
    assert "CHANGE-ME-ami is still to be replaced" in printed and "problems in" in printed
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(filled_in(ON_PREMISES)), encoding="utf-8")
    ready = nt_study("cluster", "check", file, "--json")
    assert ready.returncode == 0, ready.stdout + ready.stderr
    found = json.loads(ready.stdout)
    assert found["problems"] == []
    assert found["start"].startswith("RAY_UP_enable_autoscaler_v2=0 ray up"), "the newer one forgets a worker"


def test_what_is_no_cluster_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="there is no cluster file"):
        read_cluster_file(tmp_path / "none.yaml")
    for content, sentence in (("- a\n", "must hold keys and values, got list"), ("a: 1\n", "no Ray cluster file")):
        (tmp_path / "other.yaml").write_text(content, encoding="utf-8")
        with pytest.raises(StudyError, match=sentence):
            read_cluster_file(tmp_path / "other.yaml")
