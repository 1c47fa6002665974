"""A Ray cluster of several nodes on this machine, as a program that is told in JSON, a line each, and answers so.

    python serve_cluster.py '[{"num_cpus": 0}, {"num_cpus": 2, "env_vars": {"A": "1"}}]'
    {"kill": 1}
    {"replace": 1}              a node like the killed one

It ends, and every process of its with it, when its standard input does.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def serve(nodes: list[dict[str, Any]]) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster()

    def add(node: dict[str, Any]) -> Any:
        return cluster.add_node(wait=False, object_store_memory=80_000_000, **{"include_dashboard": False} | node)

    started = [add(node) for node in nodes]
    say({"address": cluster.address, "dashboard": cluster.webui_url, "nodes": [node.node_id for node in started]})
    try:
        for line in sys.stdin:
            ((command, number),) = json.loads(line).items()
            if command == "kill":
                cluster.remove_node(started[number], allow_graceful=False)
            else:
                started[number] = add(nodes[number])
            say({command: started[number].node_id})
    finally:
        cluster.shutdown()


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
