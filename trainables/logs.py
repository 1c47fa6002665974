"""Log files: without secrets, and silent on a disk that fails."""

from __future__ import annotations

import contextlib
import logging
import sys
from io import TextIOWrapper
from pathlib import Path

from trainables.trust import in_place, without_secrets


class LogFormatter(logging.Formatter):
    """Lines of a log file, tracebacks of whatever library included, without secrets."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


class LogFile(logging.FileHandler):
    """A log file whose disk may be full or fail: the line is lost then, and whoever logs it goes on.

    Python's own handler prints a traceback to standard error for each such line, and raises where it is closed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self.setFormatter(LogFormatter())

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=in_place)

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # where it cannot even be opened
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name for it)
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()
