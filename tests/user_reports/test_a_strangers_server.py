"""A folder of a stranger's that names a server: it hears nothing until this user has named it himself."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from command_line import run_here
from written_study import write_study

from study.errors import StudyError
from study.known import is_known, remember, server_of
from study.search.durable import open_optuna
from study.storage.directory import StudyDirectory
from study.storage.mirror import MARK, mirror_of
from study.tracking.tracker import Tracker, store_of, sync

TOKEN = "t0ken-of-mine"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def stranger() -> Iterator[tuple[str, list[str]]]:
    """A server that answers nothing useful; its address, and the headers of every request that reached it."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(str(self.headers))
            self.send_error(404)

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", heard
    server.shutdown()
    server.server_close()


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyDirectory:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache [ü]"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return write_study(tmp_path / "their studies", "theirs", ends=("complete",))


@pytest.fixture
def nt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], study: StudyDirectory) -> Command:
    return lambda *arguments: run_here(monkeypatch, capsys, *arguments, "--studies", study.path.parent)


def name_server(study: StudyDirectory, address: object, **others: object) -> None:
    study.write_json("mlflow.json", {"study_id": "0" * 32, "uri": address, **others})


def test_no_command_calls_a_server_that_only_the_folder_names(
    nt: Command, study: StudyDirectory, stranger: tuple[str, list[str]]
) -> None:
    address, heard = stranger
    name_server(study, address)
    for command in ("sync", "ui", "register"):
        code, _, said = nt(command, "theirs")
        assert code == 2 and f"add: --mlflow {address}" in said and said.count("\n") == 1, said
    with pytest.raises(StudyError, match="not named"):  # what a launch or resume begins with
        Tracker(study)
    assert heard == []


def test_a_server_that_the_user_named_is_remembered(
    nt: Command, study: StudyDirectory, stranger: tuple[str, list[str]]
) -> None:
    address, heard = stranger
    name_server(study, address)
    nt("sync", "theirs", "--mlflow", f"{address}/")
    assert any(TOKEN in headers for headers in heard)
    assert store_of(study, None) == address
    name_server(study, address.replace("http", "https"))
    with pytest.raises(StudyError, match="not named"):
        store_of(study, None)


def test_the_environment_names_a_server(study: StudyDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    name_server(study, "http://team:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://team:5000")
    assert store_of(study, None) == "http://team:5000"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert store_of(study, None) == "http://team:5000"


def test_a_data_base_of_the_searchs_is_no_exception(nt: Command, study: StudyDirectory, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'private.db'}"
    study_file = study.read_study_file().model_copy(update={"storage": storage})
    study.write_study_file(study_file)
    code, _, said = nt("resume", "theirs")
    assert code == 2 and f"add: --storage {storage}" in said and said.count("\n") == 1
    assert not (tmp_path / "private.db").exists()
    code, _, said = nt("resume", "theirs", "--storage", "sqlite:///other.db")
    assert code == 2 and "it cannot be moved" in said
    nt("resume", "theirs", "--storage", storage)
    assert open_optuna(study, study_file).study_name == "theirs"


def test_a_bucket_is_not_named_by_a_folder(study: StudyDirectory) -> None:
    for folder in (study.path, study.path.parent):
        (folder / MARK).write_text("s3://theirs/studies")
    assert mirror_of(study.path) is None


def test_a_store_beside_the_studies_keeps_its_files_there(
    study: StudyDirectory, stranger: tuple[str, list[str]]
) -> None:
    address, heard = stranger
    sync(study)
    store = study.path.parent / "mlflow.db"
    for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
        with sqlite3.connect(store) as base:
            before = base.execute(f"SELECT {column} FROM {table}").fetchall()  # noqa: S608
            base.execute(f"UPDATE {table} SET {column} = ?", (f"mlflow-artifacts:{address[5:]}/x",))  # noqa: S608
        base.close()
        with pytest.raises(StudyError, match=r"keeps files in .* and not in"):
            sync(study)
        with sqlite3.connect(store) as base:
            base.execute(f"UPDATE {table} SET {column} = ?", before[-1])  # noqa: S608
        base.close()
    assert heard == []


@pytest.mark.parametrize(
    "link",
    [{"uri": 5}, {"project": []}, {"runs": []}, {"runs": {"t000": 1}}, {"study_id": "' OR 1"}, {"more": 1}, {}],
)
def test_a_link_of_other_types_is_named(study: StudyDirectory, link: dict[str, object]) -> None:
    study.write_json("mlflow.json", {"study_id": "0" * 32, **link} if link else {})
    with pytest.raises(StudyError, match="is no link to MLflow"):
        store_of(study, None)


@pytest.mark.parametrize(
    ("named", "reached"),
    [
        ("postgresql://me:secret@db/x", "postgresql+psycopg://db:5432/y"),
        ("http://team", "HTTP://user@TEAM:80/path"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
    ],
)
def test_the_same_server_otherwise_written_is_known(study: StudyDirectory, named: str, reached: str) -> None:
    remember(named)
    assert is_known(reached)
    assert "secret" not in "".join(file.read_text() for file in Path(study.path.parents[1]).rglob("servers"))


@pytest.mark.parametrize(
    "address",
    [
        "http://team.evil.org",
        "http://team@evil.org",
        "https://team",
        "http://team:81",
        "http://team:x",
        "http://evil.org\\@team",
        "postgresql://evil.org:x/@db/x",
        "postgresql://me:x@evil.org/x@db",
        "postgresql://db/x@evil.org/x",
        "postgresql://db/x?host=evil.org",
        "postgresql://db/x?h%6fstaddr=10.0.0.1",
        "sqlite:////data/other.db",
    ],
)
def test_another_server_is_not_known(study: StudyDirectory, address: str) -> None:
    for named in ("http://team", "postgresql://db/x", "sqlite:////data/mlflow.db"):
        remember(named)
    assert not is_known(address), server_of(address)
