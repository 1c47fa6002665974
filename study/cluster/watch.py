"""A driver does not wait for a Ray that is gone: what it hangs on is asked, and where nothing answers, the driver ends.

Ray itself waits a minute for its head and for ever for its raylet, in calls that nothing interrupts. So the end is that
of a kill, after one sentence: a study is as whole after it as after any other kill, and its lock is free.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import psutil

log = logging.getLogger(__name__)

PERIOD = 5.0
"""Seconds between two questions, and the longest that an answer may take."""
SILENCES = 4
"""Questions in a row without an answer after which nobody is there."""
HEALTH = "/grpc.health.v1.Health/Check"
"""gRPC's own question whether a server is well, which Ray's servers answer."""
FAILED = 2
"""The exit code of every problem that is told in a sentence."""


@contextlib.contextmanager
def watched(remedy: str, end: Callable[[str], None] | None = None) -> Iterator[None]:
    """While it is entered, Ray's head and this machine's raylet are watched. Ray must be running.

    remedy: the command that goes on where this one was. end: what to do when one is gone; by default the process ends,
    with what Ray has started here.
    """
    watch = Watch(servers(), end or (lambda lost: leave(lost, remedy, watch.started)))
    thread = threading.Thread(target=watch.run, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watch.over.set()
        thread.join()


class Watch:
    """Asks servers, name -> address, in turns, and calls `end` once with the name of one that is not there."""

    def __init__(self, servers: dict[str, str], end: Callable[[str], None]) -> None:
        self.servers = servers
        self.end = end
        self.over = threading.Event()
        self.started: set[psutil.Process] = set()
        """The processes that this one has started, and theirs."""

    def run(self) -> None:
        from ray._private.grpc_utils import init_grpc_channel

        silences = dict.fromkeys(self.servers, 0)
        with contextlib.ExitStack() as stack:
            channels = {name: stack.enter_context(init_grpc_channel(at)) for name, at in self.servers.items()}
            asked = time.monotonic()
            while not self.over.wait(max(0.0, asked + PERIOD - time.monotonic())):
                asked = time.monotonic()
                self._note_started()
                answers = {name: one.unary_unary(HEALTH).future(b"", timeout=PERIOD) for name, one in channels.items()}
                for name, answer in answers.items():
                    silences[name] = 0 if _came(answer) else silences[name] + 1
                    if silences[name] == SILENCES:
                        self.end(name)
                        return

    def _note_started(self) -> None:
        # Those of a raylet that was killed are nobody's children any more.
        self.started = {process for process in self.started if process.is_running()}
        self.started |= set(psutil.Process().children(recursive=True))


def servers() -> dict[str, str]:
    """What a driver depends on: the cluster's head, and the raylet beside it."""
    import ray

    context = ray.get_runtime_context()
    here = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    raylet = f"{here['NodeManagerAddress']}:{here['NodeManagerPort']}"
    return {"Ray's head (its GCS)": context.gcs_address, "Ray's raylet on this machine": raylet}


def leave(lost: str, remedy: str, started: set[psutil.Process]) -> NoReturn:
    """End this process and those it has started, whatever they are doing, with one sentence."""
    log.error("%s does not answer; go on with: %s", lost, remedy)
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    if sys.stdout.isatty():
        print("\x1b[?25h", flush=True)  # the cursor, which the live table has hidden
    print(
        f"nt-study: {lost} is gone, or has not answered for {PERIOD * SILENCES:g} s, and no trial can run without it; "
        f"what was finished is kept; go on with: {remedy}",
        file=sys.stderr,
        flush=True,
    )
    os._exit(FAILED)


def _came(answer: Any) -> bool:
    import grpc

    try:
        answer.result()
    except grpc.RpcError:
        return False
    return True
