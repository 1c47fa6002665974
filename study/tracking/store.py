"""Where a study's MLflow record lies and which runs are its own."""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import uuid
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from study.errors import StudyError
from study.storage.directory import StudyDirectory
from trainables.files import whole_url
from trainables.trust import has_secret, without_secrets

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

PROJECT = "nt-study"
"""Name of the MLflow experiment that holds the studies, unless another one is asked for."""
LINK = "mlflow.json"
"""In a study's folder: its identity in MLflow and where it was recorded last."""
DATABASES = ("postgresql", "mysql", "mssql")
SCHEMES = ("http", "https", "sqlite", *DATABASES, "databricks")
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""MLflow's own settings where the user has not set them. Its 120 s and 7 retries would hide an outage for minutes;
what could not be recorded is replayed anyway. A study tells nobody that it runs, and what it prints is its own."""
PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class Link:
    """What a study's folder remembers of MLflow; the id keeps studies apart that share a name."""

    study_id: str
    uri: str | None = None
    """The store; None for the one beside the studies, and for one whose address holds a secret."""
    project: str = PROJECT
    runs: dict[str, str] = field(default_factory=dict)
    """Trial -> id of its run; the key "" is the study's own run."""


def read_link(directory: StudyDirectory) -> Link | None:
    """The link that the last recording left, or None before the first one."""
    try:
        content = directory.read_json(LINK)
    except FileNotFoundError:
        return None
    if not _is_link(content):
        raise StudyError(
            f"{directory.path / LINK} is no link to MLflow; delete it, and give --mlflow and --project where they are "
            "not the usual ones"
        )
    return Link(**content)


def _is_link(content: dict[str, Any]) -> bool:
    study_id, uri, runs = content.get("study_id"), content.get("uri"), content.get("runs", {})
    return (
        content.keys() <= {item.name for item in fields(Link)}
        and isinstance(study_id, str)
        and re.fullmatch("[0-9a-f]{32}", study_id) is not None  # it becomes part of a query
        and isinstance(uri, str | None)
        and isinstance(content.get("project", ""), str)
        and isinstance(runs, dict)
        and all(isinstance(run, str) for run in runs.values())
    )


def write_link(directory: StudyDirectory, uri: str, project: str, runs: dict[str, str]) -> Link:
    """Remember where a study is recorded, keeping its id.

    An address with a secret is not written down, and neither is the store beside the studies, which may be moved
    with them.
    """
    before = read_link(directory)
    is_usual = uri == store_uri(directory.path.parent, None)
    link = Link(
        study_id=before.study_id if before else uuid.uuid4().hex,
        uri=None if is_usual or has_secret(uri) else uri,
        project=project,
        runs=runs,
    )
    if link != before:
        directory.write_json(LINK, link.__dict__)
    return link


def store_uri(studies: Path, uri: str | None) -> str:
    """The MLflow store to use: `uri`, or the SQLite file beside the studies. StudyError for what is no store."""
    if uri is None:
        return f"sqlite:///{(studies / 'mlflow.db').resolve()}"
    if urlsplit(uri).scheme.split("+")[0] not in SCHEMES and uri != "databricks":
        raise StudyError(
            f"{without_secrets(uri)!r} is no MLflow store; give a server (http://host:5000) or a database "
            "(sqlite:///path, postgresql://…)"
        )
    return whole_url(uri)


def without_user(server: str) -> str:
    """A server's address for a browser, which asks for user and password itself."""
    parts = urlsplit(server)
    return without_secrets(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())


def connect(uri: str) -> MlflowClient:
    """A client of the store. What is wrong with a database is raised at once; MLflow would try it for 100 s."""
    mlflow = import_mlflow()
    _make_whole(uri, mlflow)
    if urlsplit(uri).scheme.split("+")[0] in DATABASES:
        import sqlalchemy

        sqlalchemy.create_engine(uri).connect().close()
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def _make_whole(uri: str, mlflow: ModuleType) -> None:
    """Make an SQLite store that is not there yet beside its place, and put it there when it has all its tables.

    MLflow makes them in a hundred steps; a process killed in between would leave a file that it never opens again.
    """
    name = uri.removeprefix("sqlite:///")
    if name == uri or not name or Path(name).exists() or not Path(name).parent.is_dir():
        return
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=Path(name).parent) as folder:
        made = Path(folder) / "mlflow.db"
        mlflow.MlflowClient(tracking_uri=f"sqlite:///{made}", registry_uri=f"sqlite:///{made}")
        try:
            os.link(made, name)
        except FileExistsError:
            return  # somebody else was as quick
        except OSError:  # a file system without links
            made.rename(name)


def import_mlflow() -> ModuleType:
    """MLflow with our defaults, which it reads while it is imported. That takes seconds, so nobody does it earlier."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    import mlflow

    # What MLflow logs, tracebacks of a store that it tries again among it, belongs into the study's log.
    logger = logging.getLogger("mlflow")
    logger.handlers, logger.propagate = [logging.NullHandler()], True
    return mlflow


def experiment_of(client: MlflowClient, uri: str, studies: Path, project: str) -> str:
    """Id of the project's experiment, which is made when it is missing.

    Artifacts of the local store go beside it; a server decides for itself.
    """
    found = client.get_experiment_by_name(project)
    beside = artifacts_beside(uri, studies)
    if found is None:
        location = beside.resolve().as_uri() if beside else None
        return str(client.create_experiment(project, artifact_location=location))
    if beside:
        _check_location(str(found.artifact_location), beside)
    if found.lifecycle_stage != "active":
        raise StudyError(
            f"MLflow's experiment {project!r} has been deleted; bring it back with "
            f"'mlflow experiments restore --experiment-id {found.experiment_id}' or choose another project"
        )
    return str(found.experiment_id)


def _check_location(location: str, beside: Path) -> None:
    """StudyError where a store that came with the studies sends their files to a server, or elsewhere on this disk."""
    parts = urlsplit(location)
    if parts.scheme in ("", "file") and Path(unquote(parts.path)).resolve().is_relative_to(beside.resolve()):
        return
    raise StudyError(
        f"{beside.with_name('mlflow.db')} keeps files in {without_secrets(location)} and not in {beside}, as it does "
        f"where the studies were moved or somebody else's; move mlflow.db away, and it is made anew"
    )


def artifacts_beside(uri: str, studies: Path) -> Path | None:
    """The folder for artifacts of the store beside the studies; None for another store, which decides for itself."""
    return studies / "mlartifacts" if uri == store_uri(studies, None) else None


def find_runs(
    client: MlflowClient, experiment: str, study: str, study_id: str, beside: Path | None = None
) -> dict[str, Run]:
    """The study's runs by trial; its own run has the key "".

    Of two runs of one trial the fuller one is kept and the other deleted: a server that was too slow to answer has made
    a run that nobody heard of, and was asked again.
    """
    runs: dict[str, Run] = {}
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment],
            f"tags.study_id = '{study_id}'",
            max_results=PAGE,
            page_token=token,
            order_by=["start_time ASC"],
        )
        for run in page:
            if run.data.tags.get("study") != study:
                continue
            if beside:
                _check_location(str(run.info.artifact_uri), beside)
            trial = run.data.tags.get("trial", "")
            known = runs.get(trial, run)
            runs[trial] = max(known, run, key=lambda one: len(one.data.tags))
            if known is not run:
                extra = known if runs[trial] is run else run
                client.delete_run(extra.info.run_id)
        token = page.token
        if not token:
            return runs


def flatten(values: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as `{"space.lam.low": "1e-06"}`; None and empty parts are left out."""
    if isinstance(values, dict):
        items = values.items()
    elif isinstance(values, list) and any(isinstance(item, dict) for item in values):
        items = {str(index): item for index, item in enumerate(values)}.items()
    else:
        text = values if isinstance(values, str) else json.dumps(values)
        return {} if values is None or values == [] else {prefix: text}
    return {key: text for name, value in items for key, text in flatten(value, f"{prefix}.{name}".lstrip(".")).items()}
