"""Optuna's storage for a study in a bucket: a log in pieces, each of which goes up once.

A data base would have to go up whole whenever a trial begins or ends. A piece is named after the number of its first
line; what an earlier piece holds already is passed over, so pieces can be joined without a moment at which a kill loses
a line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import BaseJournalBackend

from study.storage.mirror import Mirror
from trainables.files import write_atomically

PIECES = 100
"""More than so many are joined when a driver starts: a resume has to fetch each."""


class JournalStorage(optuna.storages.JournalStorage):
    """Keeps what it is told in memory until `commit`. For one driver at a time, as the study's lock has it."""

    def __init__(self, folder: Path, mirror: Mirror) -> None:
        self.pieces = Pieces(folder, mirror)
        super().__init__(self.pieces)

    def commit(self) -> None:
        """Put what is new into the bucket."""
        self.pieces.commit()


class Pieces(BaseJournalBackend):
    """The log's lines as files `<number of the first line>.jsonl`."""

    def __init__(self, folder: Path, mirror: Mirror) -> None:
        self.folder = folder
        self.mirror = mirror
        self.lines: list[str] = []
        pieces = sorted(folder.glob("*.jsonl"))
        for piece in pieces:
            self.lines += piece.read_text(encoding="utf-8").splitlines()[len(self.lines) - int(piece.stem) :]
        self.committed = len(self.lines)
        if len(pieces) > PIECES:
            self._join(pieces)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        return map(json.loads, self.lines[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.lines += map(json.dumps, logs)

    def commit(self) -> None:
        if self.committed < len(self.lines):
            self._write(self.committed)
            self.committed = len(self.lines)

    def _write(self, first: int) -> None:
        piece = self.folder / f"{first:09d}.jsonl"
        piece.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(piece, "".join(f"{line}\n" for line in self.lines[first:]).encode())
        self.mirror.upload([piece])

    def _join(self, pieces: list[Path]) -> None:
        self._write(0)
        for piece in pieces[1:]:
            self.mirror.delete(piece)
