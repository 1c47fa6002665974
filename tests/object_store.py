"""An S3-compatible server that lives as long as the tests that use it."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from pyarrow.fs import FileSystem

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


class ObjectStore:
    """The server as a context, on a port of the loopback. `checked_after` requests it begins to check credentials."""

    def __init__(self, port: int, checked_after: int | None = None) -> None:
        self.port = port
        self.environment = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", **CREDENTIALS}
        self._checked = {} if checked_after is None else {"INITIAL_NO_AUTH_ACTION_COUNT": str(checked_after)}
        self._numbers = itertools.count()

    def fresh(self, monkeypatch: pytest.MonkeyPatch) -> str:
        """Address of a new, empty bucket; this process and those that it starts find the store from now on."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        address = f"s3://bucket-{next(self._numbers)}"
        store, bucket = FileSystem.from_uri(f"{address}?allow_bucket_creation=true")
        store.create_dir(bucket)
        return address

    def __enter__(self) -> ObjectStore:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            env=os.environ | self._checked,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not self._listens():
            assert self._process.poll() is None and time.monotonic() < deadline, "the object store did not start"
            time.sleep(0.1)
        return self

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def answer(self, answers: bool) -> None:
        """Whether the server answers; its objects are in memory, so a kill would take them along."""
        self._process.send_signal(signal.SIGCONT if answers else signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
