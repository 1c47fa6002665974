"""`nt-study ui`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from study.commands.options import STUDIES, MlflowOption, StudiesOption
from study.errors import StudyError

if TYPE_CHECKING:
    from study.projection import Projection


def ui(
    name: Annotated[str | None, typer.Argument(help="Name of a study; every study when left out.")] = None,
    port: Annotated[int, typer.Option(help="Port of the UI on this machine.")] = 5000,
    mlflow: MlflowOption = None,
    studies: StudiesOption = STUDIES,
) -> None:
    """Start MLflow's UI on the studies and print where to look; Ctrl-C ends it."""
    import signal

    from study.directory import find, find_all
    from study.mirror import place_of
    from study.mlflow_server import Server
    from study.tracking import open_for_reading, store_of

    chosen = [find(studies, name)] if name else find_all(studies)
    if not chosen:
        raise StudyError(f"no study in {place_of(studies)} yet; start one with: nt-study launch hyperiqa")
    store = store_of(chosen[0], mlflow)
    projections = [open_for_reading(directory, store) for directory in chosen]
    if store.startswith("http"):
        _show(projections, store)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), Server(store, studies / "mlartifacts", port) as server:
        _show(projections, server.address)
        print("\nCtrl-C ends it", flush=True)
        server.wait()


def _show(projections: list[Projection], address: str) -> None:
    print(f"MLflow is at {address}")
    for projection in projections:
        print(f"\nstudy {projection.directory.name}")
        for what, place in places(projection).items():
            print(f"  {what:11} {address.rstrip('/')}/{place}")


def places(projection: Projection) -> dict[str, str]:
    """Where in MLflow's UI a study's things are: what -> address behind the server's."""
    from study import mlflow_links
    from study.projection import STUDY

    study, experiment = projection.directory.name, projection.experiment
    run_id = projection.runs[STUDY].info.run_id
    trials = [run.info.run_id for trial, run in projection.runs.items() if trial != STUDY]
    return {
        "front": mlflow_links.plot(experiment, run_id),
        "summary": mlflow_links.overview(experiment, run_id),
        "trials": mlflow_links.trials(experiment, study),
        "charts": mlflow_links.charts(experiment, study),
        "comparison": mlflow_links.comparison(experiment, trials),
    }
