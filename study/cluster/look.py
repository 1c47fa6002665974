"""Whether the nodes see what their trials need: each is asked before the first trial starts."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from search_spaces.schema import Resources, StudyFile
from study.cluster.resources import has, needs_of
from study.errors import StudyError
from study.storage.mirror import mirror_of, studies_folder

_NODE_SECONDS = 60
"""How long a node may take to start a process and look at two paths."""
_STOP_SECONDS = 1.0
"""How long a request to stop may go unheard."""
_MACHINE_SECONDS = 30 * 60
"""How long a machine may take to be bought, to stage its images and to join: a large data set decides."""


def check_nodes(study_file: StudyFile, studies: Path, wanted: Resources, stop: Callable[[], bool]) -> None:
    """StudyError when some node does not see the studies folder, images and weights where this process sees them.

    Where no node fits a trial yet, the first one that comes is waited for, until `stop`.
    """
    import ray

    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    others = set(nodes) - {ray.get_runtime_context().get_node_id()}
    is_there = any(has(node["Resources"], needs_of(wanted)) for node in nodes.values())
    if is_there and not others:
        return
    with _something_to_see(studies) as token:
        sights = _Sights(token, _images_of(study_file), str(study_file.recipe.weights or ""))
        try:
            if others:
                _ask({node: row["NodeManagerAddress"] for node, row in nodes.items()}, sights)
            if not is_there:
                _ask_first_to_come(wanted, sights, stop)
        except ray.exceptions.RayError as error:
            said = " ".join(str(error).split())
            raise StudyError(f"a node could not look for the studies: {said[:300]}; see: ray status") from None


class _Sights(NamedTuple):
    """What every node has to see."""

    token: str
    """A file in the studies folder, or the bucket's address."""
    images: str
    """Their path; empty for those that come with the package."""
    weights: str
    """The published checkpoint's path; empty for none."""


def _images_of(study_file: StudyFile) -> str:
    return "" if study_file.data.startswith("photos") else study_file.data.partition(":")[2]


def _ask(nodes: Mapping[str, str], sights: _Sights) -> None:
    """Have every node, ID -> address, look."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0, max_retries=0)(_look)
    asked = {}
    for node, address in nodes.items():
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        asked[look.options(scheduling_strategy=there).remote(sights)] = address
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=_NODE_SECONDS)
    found = [ray.get(answer) for answer in answered]
    if silent:
        raise StudyError(f"{asked[silent[0]]} did not start a process within {_NODE_SECONDS} s; see: ray status")
    _refuse(found)


def _ask_first_to_come(wanted: Resources, sights: _Sights, stop: Callable[[], bool]) -> None:
    """Have the first machine that fits a trial look, once there is one; asking makes an autoscaling cluster grow."""
    import ray

    print("nt-study: waiting for a machine that fits a trial; to watch: ray status", file=sys.stderr, flush=True)
    look = ray.remote(num_cpus=wanted.cpu, num_gpus=wanted.gpu, resources=wanted.custom, max_retries=3)(_look)
    answer = look.remote(sights)
    deadline = time.monotonic() + _MACHINE_SECONDS
    while not ray.wait([answer], timeout=_STOP_SECONDS)[0]:
        if stop():
            raise StudyError("stopped while it waited for a machine that fits a trial")
        if time.monotonic() < deadline:
            continue
        raise StudyError(
            f"no machine that fits a trial came within {_MACHINE_SECONDS // 60} minutes; 'ray status' and 'ray monitor "
            "cluster.yaml' say why: often the cloud has no spot capacity, or the account's limit is reached"
        )
    _refuse([ray.get(answer)])


def _refuse(found: list[dict[str, str] | None]) -> None:
    for problem in found:
        if problem:
            raise StudyError(f"node {problem['address']} ({problem['host']}) {problem['what']}")


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


def _look(sights: _Sights) -> dict[str, str] | None:
    """What is wrong with the first of the sights that this process does not see as it has to; None when nothing is."""
    import ray

    what = _look_at_bucket(sights.token) if "://" in sights.token else _look_at_folder(Path(sights.token))
    what = what or _look_at_file("images", sights.images) or _look_at_file("weights", sights.weights)
    address = ray.util.get_node_ip_address()
    return {"address": address, "host": socket.gethostname(), "what": what} if what else None


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


def _look_at_file(what: str, path: str) -> str:
    if path and not Path(path).is_absolute():
        return f"cannot find the {what} at {path}: on a cluster write the whole path, as /shared/data/livec"
    if path and not Path(path).exists():
        return f"has no {what} at {path}; put them on every node, or in a folder that all nodes share"
    return ""
