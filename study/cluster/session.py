"""The Ray that a study runs on: joined where `RAY_ADDRESS` names one, else started on this machine.

Whatever would stop every trial is said here, before the first one starts: a cluster that cannot be joined, a trial that
fits on no node, a studies folder or images that some node does not see.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml

from search_spaces.schema import Resources, StudyFile
from study.errors import StudyError
from study.storage.mirror import mirror_of, studies_folder

MEMORY_PER_TRIAL = {"small": 1.2e9, "paper": 6e9}
"""Bytes that one trial's process needs on the CPU: measured for `small`, ResNet50 at batch 16 for `paper`."""
ROOT = Path(__file__).resolve().parents[2]
NOT_SENT = ["/data/", "/studies/", "/mlruns/", "/.venv/", "/.git/", "/docs/", "/tests/", "__pycache__", "*.egg-info"]
"""What of the working tree no trial needs; a leading slash keeps `trainables/data` in."""
_JOIN_SECONDS = 5
_NODE_SECONDS = 60
"""How long a node may take to start a process and look at two paths."""
_BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""The cluster file as `ray up` leaves it on the head."""


def start_ray(study_file: StudyFile, studies: Path) -> None:
    """Join the cluster that `RAY_ADDRESS` names, or start Ray here. StudyError when a trial could not run."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    import ray

    address = os.environ.get("RAY_ADDRESS", "local")
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and not studies.is_absolute():
        raise StudyError(f"a Ray job's own folder does not last, and --studies {studies} lies in it; give a whole path")
    is_joining = address != "local" and not ray.is_initialized()
    if is_joining:
        _join(address)
    elif not ray.is_initialized():
        _check_memory(study_file)
        _start_here(study_file)
    _check_fits(resources_of_trials(study_file))
    if is_joining:
        _check_nodes(study_file, studies)


def resources_of_trials(study_file: StudyFile) -> Resources:
    """What one NT trial reserves: as the study file says, or one CPU, and one GPU where some node has any."""
    if study_file.resources_per_trial is not None:
        return study_file.resources_per_trial
    return Resources(cpu=1, gpu=1 if any(node.get("GPU", 0) >= 1 for node in _nodes()) else 0)


def working_tree() -> dict[str, Any]:
    """The runtime environment that sends this checkout to the nodes; empty where the package is installed."""
    if not (ROOT / "pyproject.toml").exists():
        return {}
    return {"working_dir": str(ROOT), "excludes": NOT_SENT}


def _start_here(study_file: StudyFile) -> None:
    import ray

    try:
        ray.init(
            address="local",
            logging_level=logging.ERROR,
            log_to_driver=False,
            include_dashboard=False,
            object_store_memory=100_000_000,  # trials pass file names, not tensors
            _system_config={
                "preload_python_modules": _preloaded(study_file),
                "idle_worker_killing_time_threshold_ms": 3_600_000,  # they wait for the baseline to end
            },
        )
    except Exception as error:  # Ray raises nothing more special when its processes are too slow
        said = " ".join(str(error).split())
        raise StudyError(
            f"Ray did not start on this machine: {said[:200]}; end what keeps it busy, and run the same command again"
        ) from None


def _join(address: str) -> None:
    import ray
    from ray.exceptions import AuthenticationError

    if "://" in address:
        raise StudyError(
            f"cannot drive a study through {address}: it would end with the connection; on the cluster use "
            "--address auto, from elsewhere the address of its dashboard, as in --address http://127.0.0.1:8265"
        )
    # A driver that a Ray job started has got its working tree already.
    environment = {} if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else working_tree()
    try:
        if address != "auto":
            _check_reachable(address)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, runtime_env=environment)
    except AuthenticationError:
        raise StudyError(_no_token(address)) from None
    except ConnectionError:
        raise StudyError(
            f"no Ray cluster answers at {address}; start one with 'ray start --head' or 'ray up cluster.yaml', "
            "or leave --address out to use this machine alone"
        ) from None
    except RuntimeError as error:
        said = " ".join(str(error).split())
        if "Version mismatch" in said:
            raise StudyError(f"cannot join the cluster at {address}: {said}; install the same versions here") from None
        raise StudyError(f"cannot join the cluster at {address}: {said}") from None


def _check_reachable(address: str) -> None:
    """Ask the cluster whether it is there and of which version; `ray.init` itself tries for minutes, then exits."""
    import grpc
    import ray
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    with init_grpc_channel(address) as channel:
        service = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        try:
            reply = service.CheckAlive(gcs_service_pb2.CheckAliveRequest(), timeout=_JOIN_SECONDS)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                raise StudyError(_no_token(address)) from None
            raise ConnectionError(address) from None
    if reply.ray_version != ray.__version__:
        raise StudyError(
            f"the cluster at {address} runs Ray {reply.ray_version} and this is Ray {ray.__version__}; "
            "install the same version on both"
        )


def _no_token(address: str) -> str:
    return (
        f"the cluster at {address} wants a token and did not get the right one; put the cluster's token into "
        "~/.ray/auth_token and set RAY_AUTH_MODE=token"
    )


def _nodes() -> list[dict[str, float]]:
    """Resources of every node there is and, on the head of an autoscaling cluster, of every kind that may be added."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]] + _nodes_to_come()


def _nodes_to_come() -> list[dict[str, float]]:
    path = _BOOTSTRAP.expanduser()
    if os.environ.get("RAY_ADDRESS", "local") == "local" or not path.exists():
        return []
    kinds = (yaml.safe_load(path.read_text(encoding="utf-8")).get("available_node_types") or {}).values()
    return [kind["resources"] for kind in kinds for _ in range(kind.get("max_workers", 0))]


def _check_fits(wanted: Resources) -> None:
    nodes = _nodes()
    needs = {"CPU": wanted.cpu, "GPU": wanted.gpu, **wanted.custom}
    for kind, amount in needs.items():
        largest = max(node.get(kind, 0) for node in nodes)
        if amount > largest:
            raise StudyError(
                f"one trial asks for {amount:g} {kind} and the largest node has {largest:g}; "
                "lower resources_per_trial in the study file or use a larger machine"
            )
    if not any(all(node.get(kind, 0) >= amount for kind, amount in needs.items()) for node in nodes):
        asked = " and ".join(f"{amount:g} {kind}" for kind, amount in needs.items() if amount)
        raise StudyError(f"one trial asks for {asked} and no node has them all; lower resources_per_trial")
    slots = sum(int(min(node.get(kind, 0) // amount for kind, amount in needs.items() if amount)) for node in nodes)
    # Tune asks for one process or machine at a time, so a large cluster would fill slowly. What waits has been
    # suggested without the results of what runs, hence no more of it than that.
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(max(1, len(_nodes_to_come()), slots // 8)))


def _check_nodes(study_file: StudyFile, studies: Path) -> None:
    """StudyError when some node does not see the studies folder and the images where this process sees them."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    if set(nodes) == {here}:
        return
    source = study_file.data.partition(":")[2] if not study_file.data.startswith("photos") else ""
    with _something_to_see(studies) as token:
        look = ray.remote(num_cpus=0, max_retries=0)(_look)
        asked = {
            look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                token, source
            ): address
            for node, address in nodes.items()
        }
        answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=_NODE_SECONDS)
        found = [(asked[answer], ray.get(answer)) for answer in answered]
    if silent:
        raise StudyError(f"{asked[silent[0]]} did not start a process within {_NODE_SECONDS} s; see: ray status")
    for node, problem in found:
        if problem:
            raise StudyError(f"node {node} ({problem['host']}) {problem['what']}")


@contextlib.contextmanager
def _something_to_see(studies: Path) -> Iterator[str]:
    """A file that every node must see beside the studies; the address of the bucket where they are in one."""
    mirror = mirror_of(studies)
    if mirror is not None:
        yield mirror.uri
        return
    token = studies.resolve() / f".seen-{uuid.uuid4().hex}"
    try:
        token.parent.mkdir(parents=True, exist_ok=True)
        token.touch()
    except OSError as error:
        raise StudyError(f"cannot write to {studies}: {error.strerror}; choose another --studies") from None
    try:
        yield str(token)
    finally:
        token.unlink(missing_ok=True)


def _look(token: str, source: str) -> dict[str, str] | None:
    """What is wrong with the studies' place and the images, as this process sees them; None when nothing is."""
    what = _look_at_bucket(token) if "://" in token else _look_at_folder(Path(token))
    what = what or _look_at_images(source)
    return {"host": socket.gethostname(), "what": what} if what else None


def _preloaded(study_file: StudyFile) -> list[str]:
    """Modules for Ray's processes to import as they start, beside the driver's own start: for a trial takes 13 s.

    Ray starts a process per CPU at once, so none where most would never get a trial.
    """
    at_a_time = min(study_file.trials, study_file.max_concurrent or study_file.trials)
    return ["trainables.trial", "study.actor"] if (psutil.cpu_count() or 1) <= at_a_time else []


def _look_at_folder(token: Path) -> str:
    folder, beside = token.parent, Path(f"{token}-{os.getpid()}")
    if not token.exists():
        return (
            f"does not see the studies folder {folder}, so that folder is on the driver's machine only; give --studies "
            "a folder that all nodes share, as /shared/studies, or a bucket, as s3://bucket/studies"
        )
    try:
        beside.touch()
        beside.unlink()
    except OSError as error:
        return f"cannot write to the studies folder {folder}: {error.strerror}; give its user the right to"
    return ""


def _look_at_bucket(uri: str) -> str:
    try:
        mirror = mirror_of(studies_folder(uri, copy="trials"))
        assert mirror is not None
        mirror.check()
        probe = mirror.root / f".seen-{uuid.uuid4().hex}"
        mirror.write(probe, b"")
        mirror.delete(probe)
    except StudyError as error:
        return f"cannot use the studies: {error}"
    return ""


def _look_at_images(source: str) -> str:
    if source and not Path(source).is_absolute():
        return f"cannot find the images at {source}: on a cluster write their whole path, as livec:/shared/data/livec"
    if source and not Path(source).exists():
        return f"has no images at {source}; put them on every node, or in a folder that all nodes share"
    return ""


def _check_memory(study_file: StudyFile) -> None:
    needed, free = MEMORY_PER_TRIAL[study_file.size], psutil.virtual_memory().available
    if free < needed:
        raise StudyError(
            f"one {study_file.size} trial needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB "
            "are free; close other programs or use --size small"
        )
