"""The durable searcher on a team's PostgreSQL, a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState
from postgres_server import PASSWORD, Postgres
from searching import DRIVER, finish_baseline, measured, search_of, study_in, suggest, told

from study.errors import StudyError
from study.search.durable import check_storage


@pytest.fixture
def team_storage(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh database of a real PostgreSQL server; its password comes from where psycopg looks for it."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    database = postgres.fresh().rpartition("/")[2]
    yield postgres.url(database).replace(":" + PASSWORD.replace(" ", "%20"), "").replace("postgresql:", DRIVER)


def test_a_team_s_postgresql_holds_the_study_as_well(tmp_path: Path, team_storage: str) -> None:
    directory, study_file = study_in(tmp_path, trials=2, storage=team_storage)
    search = search_of(directory)
    finish_baseline(search)
    first = suggest(search, "a")
    suggest(search, "b")
    measured(directory, "t001", 1)
    search.on_trial_complete("b", {})
    assert not (directory.path / "optuna.db").exists()
    assert [trial.state for trial in told(directory)] == [TrialState.RUNNING, TrialState.COMPLETE]
    assert suggest(search_of(directory), "c") == first
    with pytest.raises(StudyError, match="already has a study named 'search'"):
        check_storage(directory, study_file)
