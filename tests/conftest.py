"""What several rooms' tests share: a private cache, and one real smoke study per session of tests."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from object_store import ObjectStore
from ports import free_port
from postgres_server import PROGRAMS, Postgres

from study.storage.directory import StudyDirectory
from study.tracking.server import Server

Command = Callable[..., "subprocess.CompletedProcess[str]"]
collect_ignore_glob = [] if PROGRAMS else ["*/test_*_postgres.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not PROGRAMS:
        terminalreporter.write_line("tests of PostgreSQL were left out: it is not here (apt-get install postgresql)")


def shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """A folder of this run of tests, the same one for all of its processes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Embedded photos and adversaries are generated into the tests' own cache, once per run."""
    cache = shared_folder(tmp_path_factory, "cache")
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(cache)
    yield cache
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small tensors gain nothing from a second thread, and two that wait for each other lose a lot."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def nt_study() -> Command:
    """Runs the command line in a process of its own, as a user would."""

    def run(*arguments: str | Path, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "study.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def smoke_study(tmp_path_factory: pytest.TempPathFactory, nt_study: Command) -> StudyDirectory:
    """A finished smoke study, trained for real and once for all processes; tests read it and leave it as it is."""
    return _make_smoke(shared_folder(tmp_path_factory, "smoke"), nt_study)


def _make_smoke(studies: Path, nt_study: Command) -> StudyDirectory:
    with FileLock(studies / "being-made.lock"):
        if not (studies / "made").exists():
            launch = ("launch", "hyperiqa", "--preset", "smoke", "--name", "smoke", "--studies", studies)
            ran = nt_study(*launch)
            assert ran.returncode == 0, ran.stdout + ran.stderr
            (studies / "made").touch()
    return StudyDirectory(studies / "smoke")


@pytest.fixture(scope="session", autouse=True)
def smoke_study_in_time(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, nt_study: Command
) -> None:
    """Where several processes test, the first one begins the smoke study at once: later both would wait for it."""
    wanted = any("smoke_study" in getattr(item, "fixturenames", ()) for item in request.session.items)
    if wanted and os.environ.get("PYTEST_XDIST_WORKER") == "gw0":
        request.getfixturevalue("private_cache")  # where its images go
        studies = shared_folder(tmp_path_factory, "smoke")
        threading.Thread(target=_make_smoke, args=(studies, nt_study), daemon=True).start()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real MLflow server; a test that stops it starts it again."""
    folder = tmp_path_factory.mktemp("mlflow")
    with Server(f"sqlite:///{folder / 'mlflow.db'}", folder / "mlartifacts", free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server; `fresh()` makes an empty database. Its tests are in files `test_*_postgres.py`."""
    with Postgres(free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """A real S3-compatible server; `fresh()` makes an empty bucket."""
    with ObjectStore(free_port()) as store:
        yield store


settings.register_profile("torture", max_examples=26)
"""Of `tests/user_reports/test_hostile_inputs.py`: times the examples that each of its tests has otherwise."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")  # CI is root, and there a mount that fails is an error
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)
