"""A Ray cluster of several nodes on this machine, as a program: nodes in (JSON), one line out, then `kill N` per line.

    python serve_cluster.py '[{"num_cpus": 0}, {"num_cpus": 2, "env_vars": {"A": "1"}}]'

It ends, and every process of its with it, when its standard input does.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def serve(nodes: list[dict[str, Any]]) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    started = [
        cluster.add_node(wait=False, include_dashboard=False, object_store_memory=80_000_000, **node) for node in nodes
    ]
    print(json.dumps({"address": cluster.address, "nodes": [node.node_id for node in started]}), flush=True)
    try:
        for line in sys.stdin:
            number = int(line.removeprefix("kill "))
            cluster.remove_node(started[number], allow_graceful=False)
            print(json.dumps({"killed": started[number].node_id}), flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
