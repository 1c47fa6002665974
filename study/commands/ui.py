"""`nt-study ui`."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from study.commands.options import STUDIES, MlflowOption, StudiesOption
from study.errors import StudyError

if TYPE_CHECKING:
    from study.projection import Projection

HOST = "127.0.0.1"
"""Loopback only: MLflow's server asks nobody for a password."""
STARTING = 120.0
"""Seconds that the server may take to answer; about 15 on two free cores."""


def ui(
    name: Annotated[str | None, typer.Argument(help="Name of a study; every study when left out.")] = None,
    port: Annotated[int, typer.Option(help="Port of the UI on this machine.")] = 5000,
    mlflow: MlflowOption = None,
    studies: StudiesOption = STUDIES,
) -> None:
    """Start MLflow's UI on the studies and print where to look; Ctrl-C ends it."""
    from study.directory import find, find_all
    from study.mlflow_store import without_password
    from study.tracking import open_for_reading, store_of

    chosen = [find(studies, name)] if name else find_all(studies)
    if not chosen:
        raise StudyError(f"no study in {studies} yet; start one with: nt-study launch hyperiqa")
    store = store_of(chosen[0], mlflow)
    projections = [open_for_reading(directory, store) for directory in chosen]
    if store.startswith("http"):
        print(f"MLflow is at {without_password(store)}")
        print("\n".join(line for projection in projections for line in links(projection, store)))
        return
    address = f"http://{HOST}:{port}"
    _check_free(port)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--workers", "1"]
    command += ["--artifacts-destination", str((studies / "mlartifacts").resolve())]
    server = subprocess.Popen([*command, "--host", HOST, "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        _wait_for(server, address)
        print(f"MLflow is at {address}; Ctrl-C ends it")
        print("\n".join(line for projection in projections for line in links(projection, address)), flush=True)
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
        server.wait()


def links(projection: Projection, address: str) -> list[str]:
    """Lines that say where in MLflow's UI a study's things are."""
    from study import mlflow_links
    from study.projection import STUDY

    study, experiment = projection.directory.name, projection.experiment
    run_id = projection.runs[STUDY].info.run_id
    trials = [run.info.run_id for trial, run in projection.runs.items() if trial != STUDY]
    places = {
        "front": mlflow_links.plot(experiment, run_id),
        "summary": mlflow_links.overview(experiment, run_id),
        "trials": mlflow_links.trials(experiment, study),
        "charts": mlflow_links.charts(experiment, study),
        "comparison": mlflow_links.comparison(experiment, trials),
    }
    return [f"\nstudy {study}", *(f"  {what:11} {address.rstrip('/')}/{place}" for what, place in places.items())]


def _check_free(port: int) -> None:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise StudyError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from None


def _wait_for(server: subprocess.Popen[bytes], address: str) -> None:
    import time
    import urllib.error
    import urllib.request

    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise StudyError(f"MLflow's server ended with code {server.returncode}; its messages are above")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise StudyError(f"MLflow's server did not answer within {STARTING:g} s; is the machine very busy?")
