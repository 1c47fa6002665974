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
from collections.abc import Sequence
from pathlib import Path

from study.errors import StudyError
from study.tracking.store import DEFAULTS
from trainables.trust import in_place

HOST = "127.0.0.1"
"""Loopback only: MLflow's server asks nobody for a password."""
STARTING = 120.0
"""Seconds that the server may take to answer; about 10 on two free cores."""
LEAN = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Leaves out eight processes (2 GB) that run jobs for LLM evaluation."""


class Server:
    """A server on `store` that answers at `address`, as a context or by `start` and `stop`, again and again.

    artifacts: folder for artifacts that clients upload through the server; its messages go to a file beside it.
    options: more of `mlflow server`'s own.
    """

    def __init__(self, store: str, artifacts: Path, port: int, options: Sequence[str] = ()) -> None:
        self.store = store
        self.artifacts = artifacts.resolve()
        self.port = port
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Return once it answers. StudyError when the port is taken, or it ends or does not answer in time."""
        _check_free(self.port)
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--artifacts-destination", str(self.artifacts), "--host", HOST, "--port", str(self.port)]
        command += self.options
        # Not as an option: everybody on the machine reads command lines, and a data base's address holds a password.
        environment = {**LEAN, **DEFAULTS, **os.environ, "MLFLOW_BACKEND_STORE_URI": self.store}
        log = self.artifacts.with_name("mlflow-server.log")
        with open(log, "ab", opener=in_place) as messages:
            self._process = subprocess.Popen(
                command, env=environment, stdout=messages, stderr=messages, start_new_session=True
            )
        try:
            _wait_for(self._process, self.address, log)
        except BaseException:
            self.stop()
            raise

    def wait(self) -> None:
        """Return when the server has ended by itself."""
        assert self._process is not None
        self._process.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the server with a signal, and all its processes: what was started is only the parent of what serves."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        self._process.wait()


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise StudyError(f"port {port} cannot be used ({error.strerror}); choose another one") from None


def _wait_for(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StudyError(f"MLflow's server ended with code {process.returncode}; its messages are in {log}")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise StudyError(f"MLflow's server did not answer within {STARTING:g} s; is the machine very busy?")
