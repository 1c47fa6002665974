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

OWN = {"gcs_server": "Ray's head (its GCS)", "raylet": "Ray's raylet on this machine"}
"""The processes that a study's own Ray cannot do without, and what they are called in messages."""
LOOK = 1.0
"""Seconds between two looks at processes."""
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
    """While it is entered, Ray's head and this machine's raylet are watched: their processes as soon as this one has
    started them, and whether they answer as soon as Ray runs.

    remedy: the command that goes on where this one was. end: what to do when one is gone; by default the process ends,
    with what Ray has started here.
    """
    watch = Watch(end or (lambda lost: leave(lost, remedy, watch.started)))
    threads = [threading.Thread(target=look, daemon=True) for look in (watch.look_at_processes, watch.ask_servers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        watch.over.set()
        for thread in threads:
            thread.join(timeout=PERIOD)


class Watch:
    """Calls `end` once, with the name of what is gone."""

    def __init__(self, end: Callable[[str], None]) -> None:
        self.over = threading.Event()
        self.started: set[psutil.Process] = set()
        """The processes that this one has started, and theirs."""
        self._end = end
        self._ending = threading.Lock()

    def look_at_processes(self) -> None:
        """A process that this one has started and that ended is seen within seconds."""
        own: dict[str, psutil.Process] = {}
        gone = ""
        while not self.over.wait(LOOK):
            # Those of a raylet that was killed are nobody's children any more.
            self.started = {process for process in self.started if process.is_running()}
            below = psutil.Process().children(recursive=True)
            self.started |= set(below)
            own |= {OWN[_name(process)]: process for process in below if _name(process) in OWN and _is_child(process)}
            before, gone = gone, next((name for name, process in own.items() if not _is_alive(process)), "")
            if gone and gone == before:  # where Ray could not start, it says why a moment later
                self._end_with(gone)
                return

    def ask_servers(self) -> None:
        import ray

        while not ray.is_initialized():
            if self.over.wait(LOOK):
                return
        self.ask(servers())

    def ask(self, servers: dict[str, str]) -> None:
        """Ask servers, name -> address, in turns: one that is stopped has a process all the same, or runs elsewhere."""
        from ray._private.grpc_utils import init_grpc_channel

        silences = dict.fromkeys(servers, 0)
        with contextlib.ExitStack() as stack:
            channels = {name: stack.enter_context(init_grpc_channel(at)) for name, at in servers.items()}
            asked = time.monotonic()
            while not self.over.wait(max(0.0, asked + PERIOD - time.monotonic())):
                asked = time.monotonic()
                answers = {name: one.unary_unary(HEALTH).future(b"", timeout=PERIOD) for name, one in channels.items()}
                for name, answer in answers.items():
                    silences[name] = 0 if _came(answer) else silences[name] + 1
                    if silences[name] == SILENCES:
                        self._end_with(name)
                        return

    def _end_with(self, lost: str) -> None:
        with self._ending:
            if not self.over.is_set():
                self.over.set()
                self._end(lost)


def servers() -> dict[str, str]:
    """What a driver depends on: the cluster's head, and the raylet beside it."""
    import ray

    context = ray.get_runtime_context()
    here = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    raylet = f"{here['NodeManagerAddress']}:{here['NodeManagerPort']}"
    return {OWN["gcs_server"]: context.gcs_address, OWN["raylet"]: raylet}


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


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):
        return str(process.name())
    return ""


def _is_child(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.ppid() == os.getpid())
    return False


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
