"""`nt-study ui`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from study.commands.options import STUDIES, AnyStudyName, MlflowOption, StudiesOption, progress_terminal
from study.errors import StudyError

if TYPE_CHECKING:
    from study.tracking.projection import Projection


def ui(
    name: AnyStudyName = None,
    port: Annotated[int, typer.Option(help="Port of the UI on this machine.")] = 5000,
    mlflow: MlflowOption = None,
    studies: StudiesOption = STUDIES,
) -> None:
    """Start MLflow's UI on the studies and print where to look; Ctrl-C ends it."""
    import signal

    from study.running.waiting import waiting
    from study.storage.directory import find, find_all
    from study.storage.mirror import place_of
    from study.suggest import command
    from study.tracking.server import Server
    from study.tracking.store import without_user
    from study.tracking.tracker import open_for_reading, store_of

    chosen = [find(studies, name)] if name else find_all(studies)
    if not chosen:
        raise StudyError(
            f"no study in {place_of(studies)} yet; start one with: {command('launch', 'hyperiqa', studies=studies)}"
        )
    store = store_of(chosen[0], mlflow)
    with waiting(progress_terminal(stderr=True), "reading the studies into MLflow"):
        projections = [open_for_reading(directory, store) for directory in chosen]
    if store.startswith("http"):
        _show(projections, without_user(store))
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
    from study.tracking import links
    from study.tracking.projection import STUDY

    study, experiment = projection.directory.name, projection.experiment
    run_id = projection.runs[STUDY].info.run_id
    return {
        "front": links.plot(experiment, run_id),
        "summary": links.overview(experiment, run_id),
        "trials": links.trials(experiment, study),
        "charts": links.charts(experiment, study),
    }
