"""What is wrong with a Ray cluster file, found without a network and before money is spent.

Ray's own validation covers the file's form; the checks here cover what it lets through: values left as they were,
keys that are silently dropped, other versions than the study's, start commands that leave the cluster open.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from search_spaces.schema import did_you_mean
from search_spaces.yaml_file import StudyFileError, read_yaml
from study.cluster.aws import check_aws
from study.errors import StudyError

PLACEHOLDER = "CHANGE-ME"
"""Begins every value of the shipped files that its user has to replace."""
TOKEN = "~/.ray/auth_token"
LOSS_NOTICED_WITHIN = 10.0
"""Seconds in which a silently lost node has to be noticed; Ray's own settings take 64."""
_HEALTH = {"period_ms": 3000, "timeout_ms": 10000, "failure_threshold": 5}
"""Ray's health checks of nodes as they are when nothing is set."""
_LOCAL_KEYS = ("type", "head_ip", "worker_ips", "external_head_ip", "use_external_head_ip")

Config = dict[str, Any]


def read_cluster_file(path: Path) -> Config:
    """The file's keys and values. StudyError when there are none."""
    try:
        config = read_yaml(path, "cluster file")
    except StudyFileError as error:
        raise StudyError(str(error)) from None
    if not isinstance(config.get("provider"), dict):
        raise StudyError(f"{path} is no Ray cluster file: it must hold keys and values, 'provider' among them")
    return config


def check_cluster(config: Config) -> list[str]:
    """Everything that is wrong with a cluster file, one sentence each; empty when `ray up` can be tried."""
    problems = [*_placeholders(config), *_dropped_keys(config)]
    form = list(_form(config))
    if form:
        # What has not the form of a cluster file cannot be looked at more closely.
        return problems + form
    for check in (_provider, _versions, _start_commands, _token, _mounts, _idle_workers):
        problems += check(config)
    return problems


def exact_versions() -> dict[str, str]:
    """Packages that this project pins to one version, Ray and torch among them, and the version."""
    pins = (re.fullmatch(r"([\w-]+)(?:\[.*\])?==([\w.]+)", line) for line in _requirements())
    return {pin[1].lower(): pin[2] for pin in pins if pin}


def _requirements() -> list[str]:
    return importlib.metadata.requires("nt-study") or []


def _strings(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Every string in a nest of mappings and lists, with the keys that lead to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _strings(item, f"{where}[{number}]")
    elif isinstance(value, str):
        yield where, value


def _placeholders(config: Config) -> Iterator[str]:
    for where, text in _strings(config):
        for word in re.findall(rf"{PLACEHOLDER}[\w./:-]*", text):
            yield f"{where}: {word} is still to be replaced"


def _dropped_keys(config: Config) -> Iterator[str]:
    if not config.get("cluster_name"):
        yield "cluster_name is missing, and every cluster without one is called 'default'"
    if "min_workers" in config:
        yield "min_workers at the top level is ignored by Ray; set it in each entry of available_node_types"
    for key in ("head_node", "worker_nodes"):
        if key in config:
            yield f"{key} is a key of Ray 1 and is not read; describe machines in available_node_types"


def _form(config: Config) -> Iterator[str]:
    """What Ray itself objects to."""
    if config["provider"].get("type") == "local":
        if config.get("available_node_types"):
            yield "available_node_types: machines of your own are listed in provider.worker_ips, not by type"
            return
        for key, kind in (("head_ip", str), ("worker_ips", list)):
            if not isinstance(config["provider"].get(key), kind):
                yield f"provider.{key} is missing: say where the machines are"
                return
        machines = len(config["provider"]["worker_ips"])
        if config.get("max_workers", machines) < machines:
            yield f"max_workers is {config['max_workers']} and worker_ips lists {machines} machines"
            return
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    legacy = ("min_workers", "head_node", "worker_nodes")
    known = {key: value for key, value in copy.deepcopy(config).items() if key not in legacy}
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            validate_config(prepare_config(known))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.absolute_path) or "the file"
        yield f"{where}: {error.message}"
    except ImportError as error:
        yield f"provider {config['provider'].get('type')} needs a package that is not installed: {error}"
    except Exception as error:  # Ray raises whatever its code runs into, AssertionError and KeyError among it
        yield f"Ray does not accept the file: {' '.join(str(error).split()) or type(error).__name__}"


def _provider(config: Config) -> Iterator[str]:
    provider = config["provider"]
    if provider["type"] == "aws":
        yield from check_aws(config, PLACEHOLDER)
    if provider["type"] == "local":
        for key in provider:
            if key not in _LOCAL_KEYS:
                yield f"provider.{key} is no key of a local cluster{did_you_mean(key, _LOCAL_KEYS)}"


def _versions(config: Config) -> Iterator[str]:
    pins = exact_versions()
    docker = config.get("docker") or {}
    types = (config.get("available_node_types") or {}).items()
    images = {f"docker.{key}": docker[key] for key in ("image", "head_image", "worker_image") if docker.get(key)}
    images |= {
        f"available_node_types.{name}.docker.worker_image": kind["docker"]["worker_image"]
        for name, kind in types
        if "worker_image" in kind.get("docker", {})
    }
    for where, image in images.items():
        yield from _image(where, str(image), pins["ray"])
    pythons = {tag["minor"]: where for where, image in images.items() if (tag := _TAG.fullmatch(str(image)))}
    if len(pythons) > 1:
        named = " and ".join(f"{where} holds Python 3.{minor}" for minor, where in pythons.items())
        yield f"{named}; Ray refuses nodes whose Pythons differ from the head's, so use one"
    commands = _setup_commands(config)
    if not any("requirements.lock" in command or "make setup" in command for _, command in commands):
        missing = [name for name in ("ray", "torch") if not any(f"{name}==" in text for _, text in commands)]
        if missing and not (missing == ["ray"] and images):
            yield (
                f"setup_commands: nothing installs this project's {' and '.join(missing)}; "
                "add: pip install -r ~/nt-study/requirements.lock"
            )
    for where, command in commands:
        for name, version in re.findall(r"\b(ray|torch|torchvision)(?:\[[\w,]*\])?==([\w.]+)", command):
            if version != pins[name]:
                yield f"{where}: installs {name} {version}; this project is locked to {name} {pins[name]}"
        if "ray-wheels/latest" in command or re.search(r"pip install\s.*\bray(\[[\w,]*\])?['\"]?(\s|$)", command):
            yield f"{where}: installs whatever Ray is newest; write ray=={pins['ray']}"


_TAG = re.compile(r"(?:.*/)?ray(?:-ml)?:(?P<ray>[\w.]+)-py3(?P<minor>\d+)\b.*")
"""An image of Ray's own: which Ray and Python it holds."""


def _image(where: str, image: str, ray_version: str) -> Iterator[str]:
    tag = _TAG.fullmatch(image)
    if image.rpartition("/")[2].partition(":")[0] not in ("ray", "ray-ml"):
        return  # an image of one's own; its packages come from the setup commands or cannot be known
    if tag is None:
        yield f"{where}: {image} does not say which Ray and Python it holds; use a tag like {ray_version}-py311-gpu"
        return
    if tag["ray"] != ray_version:
        yield f"{where}: {image} holds Ray {tag['ray']}; this project is locked to Ray {ray_version}"
    oldest = importlib.metadata.metadata("nt-study")["Requires-Python"].removeprefix(">=")
    if (3, int(tag["minor"])) < tuple(int(part) for part in oldest.split(".")):
        yield f"{where}: {image} holds Python 3.{tag['minor']}; this project needs {oldest} or newer"


def _setup_commands(config: Config) -> list[tuple[str, str]]:
    keys = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
    return [(f"{key}[{number}]", text) for key in keys for number, text in enumerate(config.get(key) or [])]


def _start_commands(config: Config) -> Iterator[str]:
    for key, role in (("head_start_ray_commands", "--head"), ("worker_start_ray_commands", "--address")):
        commands = [text for text in config.get(key) or [] if "ray start" in text]
        if not commands:
            yield f"{key}: nothing calls 'ray start', and Ray's own default has no token and opens the dashboard"
            continue
        command = commands[-1]
        if role not in command:
            yield f"{key}: 'ray start' needs {role}{'=$RAY_HEAD_IP:6379' if role == '--address' else ''}"
        if not re.search(r"\bRAY_AUTH_MODE=token\b", command.partition("ray start")[0]):
            yield f"{key}: write RAY_AUTH_MODE=token before 'ray start', or anyone who reaches the port runs code here"
        if role == "--head":
            yield from _head(key, command)


def _head(key: str, command: str) -> Iterator[str]:
    options = _options(command)
    host = options.get("dashboard-host", "127.0.0.1")
    if host not in ("127.0.0.1", "localhost"):
        yield f"{key}: --dashboard-host={host} shows the dashboard to the network; use 127.0.0.1 and ray dashboard"
    if "autoscaling-config" not in options:
        yield f"{key}: without --autoscaling-config=~/ray_bootstrap_config.yaml no worker is ever started"
    found = dict(re.findall(r"\bRAY_health_check_(\w+)=(\d+)", command))
    health = {name: int(found.get(name, usual)) for name, usual in _HEALTH.items()}
    seconds = health["failure_threshold"] * (health["period_ms"] + health["timeout_ms"]) / 1000
    if seconds > LOSS_NOTICED_WITHIN:
        yield (
            f"{key}: a silently lost node is noticed after {seconds:.0f} s, {LOSS_NOTICED_WITHIN:.0f} at most are "
            "wanted; set RAY_health_check_period_ms=1000 RAY_health_check_timeout_ms=1000 "
            "RAY_health_check_failure_threshold=3 before 'ray start'"
        )


def _options(command: str) -> dict[str, str]:
    """`--name=value` and `--name value` of a shell command; a flag's value is empty."""
    words = command.partition("ray start")[2].split()
    named: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            named[name] = value or ("" if following.startswith("--") else following)
    return named


def _token(config: Config) -> Iterator[str]:
    if TOKEN not in (config.get("file_mounts") or {}):
        yield f"file_mounts: the nodes need the cluster's token; add {TOKEN}: {TOKEN}"
    elif not Path(config["file_mounts"][TOKEN]).expanduser().exists():
        yield f"file_mounts: there is no {config['file_mounts'][TOKEN]} yet; make it: ray get-auth-token --generate"


def _mounts(config: Config) -> Iterator[str]:
    for target, source in (config.get("file_mounts") or {}).items():
        if target != TOKEN and not Path(str(source)).expanduser().exists():
            yield f"file_mounts: {target} is to be copied from {source}, which does not exist here"
    key = (config.get("auth") or {}).get("ssh_private_key")
    if key and PLACEHOLDER not in key and not Path(key).expanduser().exists():
        yield f"auth.ssh_private_key: there is no {key} here"


def _idle_workers(config: Config) -> Iterator[str]:
    if config["provider"]["type"] == "local":
        return
    if "idle_timeout_minutes" not in config:
        yield "idle_timeout_minutes is missing: say after how long a worker without trials is given back, as in 10"
    for name, kind in config["available_node_types"].items():
        if name == config["head_node_type"]:
            if kind["resources"].get("CPU") != 0:
                yield f"available_node_types.{name}: write resources: {{CPU: 0}}, or trials run beside the driver"
        elif not kind["resources"]:
            yield f"available_node_types.{name}: resources are empty, so no trial ever asks for this machine"
        elif kind.get("min_workers", 0) > 0:
            yield f"available_node_types.{name}: min_workers above 0 is paid for day and night; use 0"


def start_command(config: Config, path: Path) -> str:
    """How this cluster is started."""
    if config["provider"]["type"] == "local":
        # Ray 2.60's newer autoscaler never starts one of the workers of a local cluster.
        return f"RAY_UP_enable_autoscaler_v2=0 ray up --no-config-cache {shlex.quote(str(path))}"
    return f"ray up {shlex.quote(str(path))}"
