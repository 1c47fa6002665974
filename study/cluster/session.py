"""The Ray that a study runs on: joined where `RAY_ADDRESS` names one, else started on this machine.

Whatever would stop every trial is said here, before the first one starts: a cluster that cannot be joined, a trial that
fits on no node, a studies folder or images that some node does not see.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from search_spaces.schema import Resources, StudyFile
from study.cluster.look import check_nodes
from study.cluster.resources import check_fits, resources_of_trials
from study.errors import StudyError
from study.storage.frozen import CODE, code_version

MEMORY_PER_TRIAL = {"small": 1.2e9, "mobile": 4e9, "paper": 6e9}
"""Bytes that one trial's process needs on the CPU: measured for `small`, MobileNetV2 and ResNet50 at batch 16 for
the others."""
ROOT = Path(__file__).resolve().parents[2]
NOT_SENT = ["/data/", "/studies/", "/mlruns/", "/.venv/", "/.git/", "/docs/", "/tests/", "__pycache__", "*.egg-info"]
"""What of the working tree no trial needs; a leading slash keeps `trainables/data` in."""
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Where a driver that a Ray job started finds the job's settings."""
_JOIN_SECONDS = 5


def start_ray(study_file: StudyFile, studies: Path, stop: Callable[[], bool] = lambda: False) -> None:
    """Join the cluster that `RAY_ADDRESS` names, or start Ray here. StudyError when a trial could not run.

    Waits for a cluster's first machine, if one that fits a trial has still to come; until `stop`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    # Seconds between two snapshots of Tune's own for its own restore. A study is restored from its folder.
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "1e9"
    import ray

    address = os.environ.get("RAY_ADDRESS", "local")
    if _JOB in os.environ and not studies.is_absolute():
        raise StudyError(f"a Ray job's own folder does not last, and --studies {studies} lies in it; give a whole path")
    is_joining = address != "local" and not ray.is_initialized()
    if is_joining:
        _join(address)
    elif not ray.is_initialized():
        check_memory(study_file)
        _start_here(study_file)
    wanted = resources_of_trials(study_file)
    check_fits(wanted)
    if is_joining:
        check_nodes(study_file, studies, wanted, stop)


def working_tree() -> dict[str, Any]:
    """The runtime environment that sends this checkout to the nodes; empty where the package is installed."""
    if not (ROOT / "pyproject.toml").exists():
        return {}
    return {"working_dir": str(ROOT), "excludes": NOT_SENT, "env_vars": {CODE: code_version()}}


def _came_with_job() -> bool:
    """Whether a Ray job has sent the working tree that this driver runs in."""
    environment = json.loads(os.environ.get(_JOB, "{}")).get("runtime_env") or {}
    return "working_dir" in environment


def _start_here(study_file: StudyFile) -> None:
    from study.cluster import local

    try:
        local.start(_preloaded(study_file), num_cpus=_cpus(study_file))
    except Exception as error:  # Ray raises nothing more special when its processes are too slow
        said = " ".join(str(error).split())
        raise StudyError(
            f"Ray did not start on this machine: {said[:200]}; end what keeps it busy, and run the same command again"
        ) from None


def _join(address: str) -> None:
    import ray
    from ray.exceptions import AuthenticationError

    from study.cluster.local import protect_token_file

    protect_token_file()
    if "://" in address:
        raise StudyError(
            f"cannot drive a study through {address}: it would end with the connection; on the cluster use "
            "--address auto, from elsewhere the address of its dashboard, as in --address http://127.0.0.1:8265"
        )
    environment = {}
    if _came_with_job():
        os.chdir(Path.home())  # Ray may unpack the job's folder anew for another node of this machine
    else:
        environment = working_tree()
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


def _cpus(study_file: StudyFile) -> int | None:
    """How many CPUs Ray is told of, one for each trial at a time: no more than there is memory for.

    None, which leaves the count to Ray, where the study file says itself what a trial takes.
    """
    from ray._private.utils import get_num_cpus  # which knows a container's share

    if study_file.resources_per_trial is not None:
        return None
    fit = psutil.virtual_memory().available // MEMORY_PER_TRIAL[study_file.size]
    return max(1, min(int(get_num_cpus()), int(fit)))


def trials_at_a_time(study_file: StudyFile, gpus: int) -> int:
    """How many of the study's trials run at a time on this machine, which has so many `gpus`."""
    from ray._private.utils import get_num_cpus

    wanted = study_file.resources_per_trial or Resources(cpu=1, gpu=1 if gpus else 0)
    room = [study_file.trials, study_file.max_concurrent or study_file.trials]
    room += [int((_cpus(study_file) or get_num_cpus()) // wanted.cpu)] if wanted.cpu else []
    room += [int(gpus // wanted.gpu)] if wanted.gpu else []
    return max(1, min(room))


def _preloaded(study_file: StudyFile) -> list[str]:
    """Modules for Ray's processes to import as they start, beside the driver's own start: for a trial takes 13 s.

    Ray starts a process per CPU at once, so none where most would never get a trial.
    """
    at_a_time = min(study_file.trials, study_file.max_concurrent or study_file.trials)
    return (
        ["trainables.trial", "study.running.actor"]
        if (_cpus(study_file) or psutil.cpu_count() or 1) <= at_a_time
        else []
    )


def check_memory(study_file: StudyFile) -> None:
    """StudyError where this machine has not the memory for one trial."""
    needed, free = MEMORY_PER_TRIAL[study_file.size], psutil.virtual_memory().available
    if free < needed:
        raise StudyError(
            f"one {study_file.size} trial needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB "
            "are free; close other programs or use --size small"
        )
