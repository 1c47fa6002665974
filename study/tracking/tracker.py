"""Keeping MLflow up with a study while it runs, without the study ever waiting for MLflow."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.yaml_file import StudyFileError
from study.errors import StudyError
from study.known import is_known, remember
from study.storage.directory import StudyDirectory
from study.tracking.links import plot
from study.tracking.store import (
    PROJECT,
    connect,
    experiment_of,
    import_mlflow,
    read_link,
    store_uri,
    without_user,
    write_link,
)
from trainables.trust import without_secrets

if TYPE_CHECKING:
    from study.tracking.projection import Projection

log = logging.getLogger(__name__)

BEHIND = "mlflow.behind"
"""In a study's folder while MLflow has not been told how the study ended."""
PAUSE = 1.0
"""Seconds between two passes, so that what happens together is sent together."""
IDLE = 30.0
"""Seconds until a pass without being notified: the front may have become due."""
RETRY = 5.0
"""Seconds between attempts while MLflow cannot be reached."""
PATIENCE = 60.0
"""Seconds that the end of a study waits for the last pass."""
LAST_TRIES = 15.0
"""Seconds that a study's end tries a server again that was there before: it may be restarting."""
UI = "http://127.0.0.1:5000"
"""Where `nt-study ui` shows a store that is no server, unless it is given another port."""
LAST_FIGURES = 10.0
"""Seconds that the last pass spends on figures of trials; what is left is drawn by `sync`."""


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
        project: str | None = None,
        warn: Callable[[str], None] = log.warning,
    ) -> None:
        self.directory = directory
        self.uri = store_of(directory, uri)
        self.project = project_of(directory, project)
        self.warn = warn
        self.problem = ""
        """Why MLflow's record is behind; empty while it is not."""
        self._projection: Projection | None = None
        self._was_reached = False
        self._changed = threading.Event()
        self._closing = threading.Event()
        # A daemon, so that a server that never answers cannot keep the process alive.
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)

    def start(self) -> None:
        """Begin, with whatever the folder holds already."""
        # Ray Tune imports MLflow too, and two threads that do so at once lock each other out: so here, not in ours.
        import_mlflow()
        if read_link(self.directory) is None:
            # Before anything answers there: a resume would not know of a server that was away all the time.
            write_link(self.directory, self.uri, self.project, {})
        (self.directory.path / BEHIND).touch()
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
        if self.problem and self.directory.path.is_dir():
            remedy = self.directory.command("sync")
            self.warn(f"MLflow's record of this study is incomplete; complete it with: {remedy}")

    def _run(self) -> None:
        while not self._closing.is_set():
            self._changed.wait(IDLE)
            self._changed.clear()
            if self._closing.is_set():
                break
            if self._attempt(_update):
                while not self._changed.is_set() and self._attempt(_draw_next):
                    pass
                _give_back_memory()
                self._closing.wait(PAUSE)
            else:
                self._closing.wait(RETRY)
                self._changed.set()
        deadline = time.monotonic() + LAST_TRIES
        while not (is_told := self._attempt(_finish)) and self._was_reached and time.monotonic() < deadline:
            time.sleep(RETRY)
        if is_told:
            (self.directory.path / BEHIND).unlink(missing_ok=True)
            deadline = time.monotonic() + LAST_FIGURES
            while time.monotonic() < deadline and self._attempt(_draw_next):
                pass
        log.info("MLflow's record took %.1f s of processor time", time.thread_time())

    def _attempt(self, step: Callable[[Projection], bool]) -> bool:
        """Take a step. True when it succeeded and there may be more to do."""
        try:
            if self._projection is None:
                self._projection = open_projection(self.directory, self.uri, self.project)
                self._was_reached = True
            is_more = step(self._projection)
        except Exception as error:  # whatever it is, the study goes on and the folder keeps everything
            self._projection = None
            self._report(error)
            return False
        if self.problem:
            log.info("MLflow at %s is back and up to date", without_secrets(self.uri))
        self.problem = ""
        return is_more

    def _report(self, error: Exception) -> None:
        sentence = f"MLflow at {without_secrets(self.uri)} cannot be written: {explain(error)}"
        if not self.problem and self.directory.path.is_dir():
            self.warn(f"{sentence}; the study goes on, and what is missing there is sent when it is back")
        log.info("%s", sentence, exc_info=error)
        self.problem = sentence


def _give_back_memory() -> None:
    """Hand freed memory back to the system; takes a millisecond.

    The C library keeps what queries and figures leave free in pieces: over thousands of trials hundreds of megabytes.
    """
    with contextlib.suppress(AttributeError):  # other C libraries give it back themselves
        ctypes.CDLL(None).malloc_trim(0)


def _update(projection: Projection) -> bool:
    projection.update()
    return True


def _finish(projection: Projection) -> bool:
    projection.update(final=True)
    return True


def _draw_next(projection: Projection) -> bool:
    return projection.draw_next()


def is_behind(directory: StudyDirectory) -> bool:
    """Whether a driver ended, or MLflow was away, before MLflow heard of the study's end."""
    return (directory.path / BEHIND).exists()


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
    store = store_of(directory, uri)
    with errors_explained(store):
        projection = open_projection(directory, store, project_of(directory, project))
        projection.update(final=True)
        while projection.draw_next():
            pass
    (directory.path / BEHIND).unlink(missing_ok=True)
    directory.send()
    return len(projection.runs) - 1


def open_for_reading(directory: StudyDirectory, store: str) -> Projection:
    """A study's runs in a store, recorded now if they are not there yet."""
    with errors_explained(store):
        projection = open_projection(directory, store, project_of(directory, None))
        if not projection.runs:
            projection.update(final=directory.owner() is None)
    return projection


def record_comparison(directories: Sequence[StudyDirectory], folder: Path, uri: str | None = None) -> str:
    """Show the files of a comparison in MLflow as a run of its own, one per set of studies, made anew each time.

    Returns the plot's address in MLflow's UI.
    """
    store, project = store_of(directories[0], uri), project_of(directories[0], None)
    names = ", ".join(sorted(directory.name for directory in directories))
    with errors_explained(store):
        client = connect(store)
        experiment = experiment_of(client, store, directories[0].path.parent, project)
        found = client.search_runs([experiment], f"tags.comparison = '{names}'", max_results=1)
        tags = {"comparison": names, "mlflow.runName": f"comparison of {names}"}
        run = found[0] if found else client.create_run(experiment, tags=tags)
        for name in ("pareto.html", "pareto.png"):
            client.log_artifact(run.info.run_id, str(folder / name), "front")
        client.set_terminated(run.info.run_id)
    server = without_user(store) if store.startswith("http") else UI
    return f"{server.rstrip('/')}/{plot(experiment, run.info.run_id)}"


def open_projection(directory: StudyDirectory, store: str, project: str) -> Projection:
    from study.tracking.projection import Projection

    return Projection(directory, connect(store), store, project)


def forget(directory: StudyDirectory, uri: str | None = None) -> int:
    """Delete a study's runs from MLflow; returns how many there were. StudyError when the store cannot be written."""
    with _recorded(directory, uri) as projection:
        if projection is None:
            return 0
        for run in projection.runs.values():
            projection.client.delete_run(run.info.run_id)
        return len(projection.runs)


def rename(directory: StudyDirectory, name: str, uri: str | None = None) -> None:
    """Have a study's runs in MLflow say another name. StudyError when the store cannot be written."""
    from study.tracking.projection import STUDY

    with _recorded(directory, uri) as projection:
        if projection is None:
            return
        for trial, run in projection.runs.items():
            projection.client.set_tag(run.info.run_id, "study", name)
            if trial == STUDY:
                projection.client.set_tag(run.info.run_id, "mlflow.runName", name)


@contextlib.contextmanager
def _recorded(directory: StudyDirectory, uri: str | None) -> Iterator[Projection | None]:
    """The study's record in MLflow, or None of a study that was never recorded; whatever fails inside is explained."""
    if read_link(directory) is None:
        yield None
        return
    store = store_of(directory, uri)
    with errors_explained(store):
        yield open_projection(directory, store, project_of(directory, None))


@contextlib.contextmanager
def errors_explained(store: str) -> Iterator[None]:
    """Turn whatever MLflow and the libraries below it raise into a StudyError of one sentence."""
    try:
        yield
    except (StudyError, StudyFileError):
        raise
    except Exception as error:
        log.info("MLflow failed", exc_info=error)
        raise StudyError(f"MLflow at {without_secrets(store)} cannot be used: {explain(error)}") from error


def store_of(directory: StudyDirectory, uri: str | None) -> str:
    """The store asked for, here or in MLflow's own setting, or of the last recording, or the one beside the studies.

    StudyError for one that only the study's folder names: who wrote that folder would get this user's credentials.
    """
    studies = directory.path.parent
    if asked := uri or os.environ.get("MLFLOW_TRACKING_URI"):
        store = store_uri(studies, asked)
        remember(store)
        return store
    link = read_link(directory)
    store = store_uri(studies, link.uri if link else None)
    if store != store_uri(studies, None) and not is_known(store):
        shown = without_secrets(store)
        raise StudyError(
            f"study {directory.name!r} says that it is recorded in MLflow at {shown}, an address that you have not "
            f"named yourself, so it gets neither the study nor your credentials; if it is yours, add: --mlflow {shown}"
        )
    return store


def project_of(directory: StudyDirectory, project: str | None) -> str:
    """The experiment asked for, here or in MLflow's own setting, or the one of the last recording, or ours."""
    link = read_link(directory)
    return project or os.environ.get("MLFLOW_EXPERIMENT_NAME") or (link.project if link else PROJECT)


def explain(error: Exception) -> str:
    """The first sentence of an error of MLflow's, or of the libraries below it, with the usual causes named."""
    text = without_secrets(" ".join(str(error).split()))
    for sign, meaning in SIGNS.items():
        if sign in text:
            return meaning
    return f"{type(error).__name__}: {text[:200]}"


HALF_MADE = "a process that was killed has left the database half-made; move it away, and it is made anew"
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
    "password authentication failed": "the database refuses the user or the password in its address",
    "No module named 'psycopg": "PostgreSQL needs a driver; install it with: pip install 'nt-study[postgres]'",
    "unable to open database file": "the database file cannot be opened; is the folder writable?",
    "readonly database": "the database file is read-only",
    "already exists": HALF_MADE,
    "no such table": HALF_MADE,
    "no such column": HALF_MADE,
}
"""Part of an error's text -> what it means."""
