"""A way to a server that can be closed, or carry nothing any more, as one through SSH."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit


class Tunnel:
    """Passes on what comes to `address` while it is open; where it does not carry, it takes everything all the same."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        assert parts.hostname is not None and parts.port is not None
        self.end = (parts.hostname, parts.port)
        self.carries = True
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.open: list[socket.socket] = [self.listener]
        self._start(self._accept)

    def __enter__(self) -> Tunnel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        while True:
            here, _ = self.listener.accept()
            there = socket.create_connection(self.end)
            self.open += [here, there]
            self._start(self._pass_on, here, there)
            self._start(self._pass_on, there, here)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        while said := source.recv(2**16):
            if self.carries:
                target.sendall(said)
        target.shutdown(socket.SHUT_WR)

    @staticmethod
    def _start(work: object, *arguments: object) -> None:
        def run() -> None:
            with contextlib.suppress(OSError):  # it was closed
                work(*arguments)  # type: ignore[operator]

        threading.Thread(target=run, daemon=True).start()
