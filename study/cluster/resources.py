"""What a trial reserves, and whether the nodes that there are, or may come, have it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import yaml

from search_spaces.schema import Resources, StudyFile
from study.errors import StudyError

_BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""The cluster file as `ray up` leaves it on the head."""


def resources_of_trials(study_file: StudyFile) -> Resources:
    """What one NT trial reserves: as the study file says, or one CPU, and one GPU where some node has any."""
    if study_file.resources_per_trial is not None:
        return study_file.resources_per_trial
    return Resources(cpu=1, gpu=1 if any(node.get("GPU", 0) >= 1 for node in _nodes()) else 0)


def needs_of(wanted: Resources) -> dict[str, float]:
    """The same as Ray counts it: kind -> amount."""
    return {"CPU": wanted.cpu, "GPU": wanted.gpu, **wanted.custom}


def has(node: Mapping[str, float], needs: Mapping[str, float]) -> bool:
    return all(node.get(kind, 0) >= amount for kind, amount in needs.items())


def check_fits(wanted: Resources) -> None:
    nodes, needs = _nodes(), needs_of(wanted)
    for kind, amount in needs.items():
        largest = max(node.get(kind, 0) for node in nodes)
        if amount > largest:
            raise StudyError(
                f"one trial asks for {amount:g} {kind} and the largest node has {largest:g}; "
                "lower resources_per_trial in the study file or use a larger machine"
            )
    if not any(has(node, needs) for node in nodes):
        asked = " and ".join(f"{amount:g} {kind}" for kind, amount in needs.items() if amount)
        raise StudyError(f"one trial asks for {asked} and no node has them all; lower resources_per_trial")
    slots = slots_of(wanted)
    # Tune asks for one process or machine at a time, so a large cluster would fill slowly. What waits has been
    # suggested without the results of what runs, hence no more of it than that.
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(max(1, len(_nodes_to_come()), slots // 8)))


def slots_of(wanted: Resources) -> int:
    """How many trials can run at a time on the nodes there are, and on those that may be added."""
    needs = {kind: amount for kind, amount in needs_of(wanted).items() if amount}
    return sum(int(min(node.get(kind, 0) // amount for kind, amount in needs.items())) for node in _nodes())


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
