"""MLflow's server on PostgreSQL, the database of a team's installation."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow_records import snapshot
from ports import free_port
from postgres_server import Postgres
from written_study import write_study

from study.errors import StudyError
from study.mlflow_server import Server
from study.mlflow_store import PROJECT, connect, read_link
from study.tracking import sync


def test_a_server_on_postgresql_records_the_same(tmp_path: Path, postgres: Postgres, mlflow_server: Server) -> None:
    directory = write_study(tmp_path / "studies", baseline="failed", ends=("complete",))
    with Server(postgres.fresh(), tmp_path / "mlartifacts", free_port()) as server:
        assert sync(directory, server.address) == 2
        recorded = snapshot(connect(server.address), PROJECT)
        sync(directory, server.address)
        assert snapshot(connect(server.address), PROJECT) == recorded
    sync(directory, mlflow_server.address, project="not on PostgreSQL")
    assert recorded == snapshot(connect(mlflow_server.address), "not on PostgreSQL")


def test_a_wrong_password_of_the_database_is_said_and_not_shown(tmp_path: Path, postgres: Postgres) -> None:
    directory = write_study(tmp_path / "studies", ends=())
    with pytest.raises(StudyError, match="refuses the user or the password") as refused:
        sync(directory, postgres.url(password="abracadabra"))
    assert "abracadabra" not in str(refused.value)
    link = read_link(directory)
    assert link is None or link.uri is None
