"""MLflow's server as a team runs it: on PostgreSQL, behind passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_records import snapshot
from ports import free_port
from postgres_server import Postgres
from written_study import write_study

from study.errors import StudyError
from study.tracking.server import Server
from study.tracking.store import PROJECT, connect, read_link
from study.tracking.tracker import sync

PASSWORD = "a long password"
USERS = """[mlflow]
database_uri = sqlite:///{folder}/users.db
admin_username = ada
default_permission = READ
auth_cache_ttl_seconds = 600
"""
"""Checking a password takes a quarter of a second, on purpose: so once per user, not per request."""


@pytest.fixture
def team_server(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """MLflow's server on PostgreSQL with one user."""
    (tmp_path / "users.ini").write_text(USERS.format(folder=tmp_path), encoding="utf-8")
    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(tmp_path / "users.ini"))
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", PASSWORD)
    monkeypatch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "signs forms")
    options = ("--app-name", "basic-auth")
    with Server(postgres.fresh(), tmp_path / "mlartifacts", free_port(), options) as server:
        yield server


def test_a_server_on_postgresql_behind_passwords_records_the_same(
    tmp_path: Path, team_server: Server, mlflow_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write_study(tmp_path / "studies", baseline="failed", ends=("complete",))
    with pytest.raises(StudyError, match="refuses the credentials; set MLFLOW_TRACKING_USERNAME"):
        sync(directory, team_server.address)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a wrong one")
    with pytest.raises(StudyError, match="refuses the credentials"):
        sync(directory, team_server.address)

    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    assert sync(directory, team_server.address) == 2
    recorded = snapshot(connect(team_server.address), PROJECT)
    sync(directory, team_server.address)
    assert snapshot(connect(team_server.address), PROJECT) == recorded
    sync(directory, mlflow_server.address, project="not on PostgreSQL")
    assert snapshot(connect(mlflow_server.address), "not on PostgreSQL") == recorded


def test_a_wrong_password_of_the_database_is_said_and_not_shown(tmp_path: Path, postgres: Postgres) -> None:
    directory = write_study(tmp_path / "studies", ends=())
    with pytest.raises(StudyError, match="refuses the user or the password") as refused:
        sync(directory, postgres.url(password="abracadabra"))
    assert "abracadabra" not in str(refused.value)
    link = read_link(directory)
    assert link is None or link.uri is None
