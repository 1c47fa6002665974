"""Keeping MLflow up with a study while it runs, without the study ever waiting for MLflow."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from study.directory import StudyDirectory
from study.errors import StudyError
from study.mlflow_store import PROJECT, connect, read_link, store_uri, without_password

if TYPE_CHECKING:
    from study.projection import Projection

log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds between two passes, so that what happens together is sent together."""
IDLE = 30.0
"""Seconds until a pass without being notified: the front may have become due."""
RETRY = 10.0
"""Seconds between attempts while MLflow cannot be reached."""
PATIENCE = 60.0
"""Seconds that the end of a study waits for the last pass."""


class Tracker:
    """A background thread that projects the study's folder into MLflow.

    Whatever MLflow does (down, slow, failing, forbidding), the study goes on: `warn` hears of it once, and what is
    missing is sent when MLflow is back, or by `sync`. StudyError at once for a uri that can be no store.
    """

    def __init__(
        self,
        directory: StudyDirectory,
        uri: str | None = None,
        *,
        project: str = PROJECT,
        warn: Callable[[str], None] = log.warning,
    ) -> None:
        self.directory = directory
        self.uri = _uri_of(directory, uri)
        self.project = project
        self.warn = warn
        self.problem = ""
        """Why MLflow's record is behind; empty while it is not."""
        self._projection: Projection | None = None
        self._changed = threading.Event()
        self._closing = threading.Event()
        # A daemon, so that a server that never answers cannot keep the process alive.
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)

    def start(self) -> None:
        """Begin, with whatever the folder holds already."""
        self._changed.set()
        self._thread.start()

    def notify(self) -> None:
        """Say that something in the folder changed. Returns at once."""
        self._changed.set()

    def close(self, timeout: float = PATIENCE) -> None:
        """Record the end of the study and stop; gives up after `timeout` seconds."""
        self._closing.set()
        self._changed.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self.problem = self.problem or f"no answer within {timeout:g} s"
        if self.problem:
            self.warn(
                f"MLflow's record of this study is incomplete; complete it with: nt-study sync {self.directory.name}"
            )

    def _run(self) -> None:
        while not self._closing.is_set():
            self._changed.wait(IDLE)
            self._changed.clear()
            if not self._closing.is_set():
                self._closing.wait(PAUSE if self._attempt(final=False) else RETRY)
        self._attempt(final=True)

    def _attempt(self, *, final: bool) -> bool:
        try:
            if self._projection is None:
                self._projection = open_projection(self.directory, self.uri, self.project)
            self._projection.update(final=final)
        except Exception as error:  # whatever it is, the study goes on and the folder keeps everything
            self._projection = None
            self._report(error)
            return False
        if self.problem:
            log.info("MLflow at %s is back and up to date", without_password(self.uri))
        self.problem = ""
        return True

    def _report(self, error: Exception) -> None:
        sentence = f"MLflow at {without_password(self.uri)} cannot be written: {explain(error)}"
        if not self.problem:
            self.warn(f"{sentence}; the study goes on, and what is missing there is sent when it is back")
        log.info("%s", sentence, exc_info=error)
        self.problem = sentence
        self._changed.set()


def sync(directory: StudyDirectory, uri: str | None = None, *, project: str | None = None) -> int:
    """Make MLflow's record of a study from its folder, or complete it; doing it again changes nothing.

    Returns how many trials there are. Raises StudyError while the study is running (its own tracker keeps the record
    then) and when the store cannot be written.
    """
    owner = directory.owner()
    if owner is not None:
        raise StudyError(
            f"study {directory.name!r} is being run by process {owner['pid']} on {owner['host']}, which keeps MLflow "
            "up to date; sync when it has ended"
        )
    link = read_link(directory)
    store = _uri_of(directory, uri)
    try:
        projection = open_projection(directory, store, project or (link.project if link else PROJECT))
        projection.update(final=True)
    except StudyError:
        raise
    except Exception as error:
        log.info("sync failed", exc_info=error)
        raise StudyError(f"MLflow at {without_password(store)} cannot be written: {explain(error)}") from error
    return len(projection.runs) - 1


def open_projection(directory: StudyDirectory, uri: str, project: str) -> Projection:
    from study.projection import Projection

    return Projection(directory, connect(uri), uri, project)


def explain(error: Exception) -> str:
    """The first sentence of an error of MLflow's, or of the libraries below it, with the usual causes named."""
    text = " ".join(str(error).split())
    for sign, meaning in SIGNS.items():
        if sign in text:
            return meaning
    return f"{type(error).__name__}: {text[:200]}"


SIGNS = {
    "error code 401": "it refuses the credentials; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
    "MLFLOW_TRACKING_TOKEN",
    "error code 403": "these credentials may not write there; ask for permission on the experiment",
    "Connection refused": "nothing listens there",
    "Name or service not known": "there is no such host",
    "Failed to resolve": "there is no such host",
    "timed out": "it does not answer in time",
    "too many 500 error responses": "it answers with errors of its own",
    "too many 502 error responses": "it answers with errors of its own",
    "too many 503 error responses": "it answers with errors of its own",
    "unable to open database file": "the database file cannot be opened; is the folder writable?",
    "readonly database": "the database file is read-only",
}
"""Part of an error's text -> what it means."""


def _uri_of(directory: StudyDirectory, uri: str | None) -> str:
    """The store asked for, or the one of the last recording, or the one beside the studies."""
    link = read_link(directory)
    return store_uri(directory.path.parent, uri or (link.uri if link else None))
