"""MLflow's own server as a child process, for `nt-study ui` and for tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from study.errors import StudyError
from study.mlflow_store import DEFAULTS

HOST = "127.0.0.1"
"""Loopback only: MLflow's server asks nobody for a password."""
STARTING = 120.0
"""Seconds that the server may take to answer; about 10 on two free cores."""
LEAN = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Leaves out eight processes (2 GB) that run jobs for LLM evaluation."""


@contextlib.contextmanager
def serving(store: str, artifacts: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server on `store` that answers at `http://127.0.0.1:port`, and that ends with the context.

    artifacts: folder for artifacts that clients upload through the server; its messages go to a file beside it.
    StudyError when the port is taken or the server ends or does not answer in time.
    """
    _check_free(port)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--workers", "1"]
    command += ["--artifacts-destination", str(artifacts.resolve()), "--host", HOST, "--port", str(port)]
    environment = {**LEAN, **DEFAULTS, **os.environ}
    log = artifacts.resolve().with_name("mlflow-server.log")
    with log.open("wb") as messages:
        server = subprocess.Popen(command, env=environment, stdout=messages, stderr=messages, start_new_session=True)
    try:
        _wait_for(server, port, log)
        yield server
    finally:
        # The whole group: the command is only the parent of the process that serves.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise StudyError(f"port {port} cannot be used ({error.strerror}); choose another one") from None


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise StudyError(f"MLflow's server ended with code {server.returncode}; its messages are in {log}")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise StudyError(f"MLflow's server did not answer within {STARTING:g} s; is the machine very busy?")
