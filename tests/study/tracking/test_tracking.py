"""MLflow as a view of a study's folder, against a real server."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
import requests
from command_line import run_here
from mlflow_records import files_of, runs_of, snapshot
from PIL import Image
from ports import free_port
from written_study import epoch_rows, score_table, write_epochs, write_study, write_trial

from study.errors import StudyError
from study.storage.directory import StudyDirectory
from study.storage.summaries import summarise
from study.tracking.projection import Projection
from study.tracking.server import Server
from study.tracking.store import connect, read_link
from study.tracking.tracker import Tracker, is_behind, open_projection, store_of, sync
from study.tracking.trial_report import draw_figures
from trainables.objectives import measure
from trainables.record import read_scores, write_scores

ENDS = ("complete", "complete", "pruned", "failed", "complete")


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    return tmp_path / "studies"


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def test_record_equals_the_folder_and_syncing_again_changes_nothing(studies: Path, mlflow_server: Server) -> None:
    directory = write_study(studies, ends=ENDS)
    assert sync(directory, mlflow_server.address, project="whole") == len(ENDS) + 1
    client = connect(mlflow_server.address)
    runs = runs_of(client, "whole")
    assert set(runs) == {"", "baseline", *(f"t{number:03d}" for number in range(len(ENDS)))}
    parent = runs.pop("")
    for trial, run in runs.items():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        config = directory.read_json(f"trials/{trial}/config.json")
        assert float(run.data.params["lam"]) == config["lam"]
        assert float(run.data.params["step_size"]) == config["step_size"]
        if run.data.tags["state"] == "complete":
            table = read_scores(directory.trial(trial) / "scores.parquet")
            for split in ("validation", "test"):
                for name, value in measure(table, split).items():
                    assert run.data.metrics[f"{split}/{name}"] == value, name
            assert {"config.json", "scores.parquet", "figures/scores.png"} <= files_of(client, run.info.run_id)
    assert [runs[f"t00{number}"].info.status for number in range(5)] == [
        "FINISHED",
        "FINISHED",
        "KILLED",
        "FAILED",
        "FINISHED",
    ]
    assert runs["t003"].data.tags["reason"] == "RuntimeError: out of memory"
    assert not any(name.startswith("validation/") for name in runs["t003"].data.metrics)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["data.fingerprint"] == "0" * 64
    assert parent.data.params["space.lam.log"] == "true"
    assert {"study.yaml", "front/pareto.html", "front/pareto.png", "front/front.csv", "front/parallel.png"} <= files_of(
        client, parent.info.run_id
    )
    note = parent.data.tags["mlflow.note.content"]
    assert "The knee is" in note and "front/pareto.html" in note
    volumes = [point.value for point in client.get_metric_history(parent.info.run_id, "hypervolume")]
    assert len(volumes) == 4 and volumes == sorted(volumes)

    before = snapshot(client, "whole")
    sync(directory, mlflow_server.address, project="whole")
    assert snapshot(client, "whole") == before
    assert (directory.front / "pareto.html").read_text(encoding="utf-8").count(parent.info.run_id) == 0
    assert runs["t000"].info.run_id in (directory.front / "pareto.html").read_text(encoding="utf-8")


def test_a_run_that_a_slow_server_made_twice_is_left_once(studies: Path, mlflow_server: Server) -> None:
    directory = write_study(studies)
    sync(directory, mlflow_server.address, project="twice")
    client = connect(mlflow_server.address)
    before = snapshot(client, "twice")
    made = runs_of(client, "twice")["t000"]
    kept = {name: made.data.tags[name] for name in ("study", "study_id", "trial", "mlflow.parentRunId")}
    for start in (made.info.start_time - 1, made.info.start_time + 1):
        client.create_run(made.info.experiment_id, start_time=start, tags=kept)
    sync(directory, mlflow_server.address, project="twice")
    assert snapshot(client, "twice") == before


def test_trials_whose_study_s_run_was_lost_belong_to_the_new_one(studies: Path, mlflow_server: Server) -> None:
    """A server killed while it answered made two; the trials of the one that was given up hung in the air."""
    directory = write_study(studies)
    sync(directory, mlflow_server.address, project="orphans")
    client = connect(mlflow_server.address)
    client.delete_run(runs_of(client, "orphans")[""].info.run_id)
    sync(directory, mlflow_server.address, project="orphans")
    parent, *trials = (run for _, run in sorted(runs_of(client, "orphans").items()))
    assert len(trials) == 4
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}


def test_a_trial_costs_few_requests_and_a_second_look_none_of_its_own(
    studies: Path, mlflow_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    send = requests.Session.send

    def counted(session: requests.Session, request: requests.PreparedRequest, **options: object) -> requests.Response:
        asked.append(f"{request.method} {urlsplit(str(request.url)).path}")
        return send(session, request, **options)

    monkeypatch.setattr(requests.Session, "send", counted)
    costs = []
    for count in (2, 6):
        directory = write_study(studies / str(count), ends=("complete",) * count)
        asked.clear()
        sync(directory, mlflow_server.address, project=f"requests {count}")
        costs.append(len(asked))
    assert (costs[1] - costs[0]) / 4 <= 10, Counter(asked)
    asked.clear()
    sync(directory, mlflow_server.address, project="requests 6")
    assert len(asked) <= 6, Counter(asked)


def test_epochs_are_metrics_by_step(studies: Path, mlflow_server: Server) -> None:
    directory = write_study(studies, baseline="", ends=())
    sync(directory, mlflow_server.address, project="epochs")
    client = connect(mlflow_server.address)
    run = runs_of(client, "epochs")["baseline"]
    assert run.info.status == "SCHEDULED"
    history = client.get_metric_history(run.info.run_id, "train_loss")
    epochs = directory.read_study_file().trial_config("baseline", {}).epochs
    assert [(point.step, point.value) for point in history] == [(step, 9.0 / step) for step in range(1, epochs + 1)]
    spacing = [after.timestamp - before.timestamp for before, after in itertools.pairwise(history)]
    assert spacing == [250] * (epochs - 1)


def test_the_front_is_refreshed_now_and_then_and_at_the_end(studies: Path, mlflow_server: Server) -> None:
    directory = write_study(studies, ends=("complete", ""))
    projection = open_projection(directory, mlflow_server.address, "refreshed")
    page = directory.front / "pareto.html"

    def shown() -> set[str]:
        return set(re.findall(r'"written/(\w+)": ', page.read_text(encoding="utf-8")))

    projection.update()
    assert shown() == {"baseline", "t000"}
    write_trial(directory, directory.read_study_file(), "t001", 1)
    projection.update()
    assert "t001" in projection.runs and shown() == {"baseline", "t000"}
    projection.update(final=True)
    assert shown() == {"baseline", "t000", "t001"}
    scores = read_scores(directory.trial("t000") / "scores.parquet")
    fully = pd.concat([scores, scores[scores["attack"] == "fgsm"].assign(attack="uap")], ignore_index=True)
    write_scores(directory.trial("t000") / "scores.parquet", fully, {"trial": "t000"})
    projection.update(final=True)
    assert "rmse_attacked/uap" in page.read_text(encoding="utf-8"), "the full suite adds to trials that are drawn"


def test_a_trial_has_its_scores_and_examples_as_pictures(smoke_study: StudyDirectory, tmp_path: Path) -> None:
    trial = next(trial for trial in summarise(smoke_study) if not trial.is_baseline)
    draw_figures(smoke_study, trial, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"scores.png", "examples.png"}
    for path in tmp_path.iterdir():
        with Image.open(path) as picture:
            assert picture.width > 500


@pytest.mark.slow
def test_killing_the_server_in_the_middle_leaves_a_complete_record(studies: Path, mlflow_server: Server) -> None:
    directory = write_study(studies, ends=("complete",))
    study_file = directory.read_study_file().model_copy(update={"trials": 3})
    directory.write_study_file(study_file)
    warnings: list[str] = []
    client = connect(mlflow_server.address)
    with directory.locked():
        tracker = Tracker(directory, mlflow_server.address, project="outage", warn=warnings.append)
        tracker.start()
        write_trial(directory, study_file, "t001", 1, end="")
        tracker.notify()
        wait_until(lambda: bool(client.get_experiment_by_name("outage")) and "t001" in runs_of(client, "outage"))
        assert runs_of(client, "outage")["t001"].info.status == "RUNNING"
        mlflow_server.stop(signal.SIGKILL)
        write_trial(directory, study_file, "t001", 1)
        tracker.notify()
        wait_until(lambda: bool(tracker.problem))
        write_trial(directory, study_file, "t002", 2)
        tracker.notify()
        mlflow_server.start()
        wait_until(lambda: not tracker.problem)
        tracker.close()
    assert len(warnings) == 1 and "study goes on" in warnings[0]
    sync(directory, mlflow_server.address, project="at once")
    assert snapshot(client, "outage") == snapshot(client, "at once")
    assert snapshot(client, "outage")[""][0] == "FINISHED"


def test_a_server_that_is_not_there_costs_a_warning_and_little_time(studies: Path) -> None:
    directory = write_study(studies, ends=("complete",))
    warnings: list[str] = []
    tracker = Tracker(directory, f"http://127.0.0.1:{free_port()}", warn=warnings.append)
    tracker.start()
    started = time.monotonic()
    for _ in range(1000):
        tracker.notify()
    assert time.monotonic() - started < 0.5
    wait_until(lambda: bool(warnings))
    tracker.close()
    assert ["nothing listens there" in warning for warning in warnings] == [True, False]
    assert "nt-study sync written" in warnings[1]


def test_a_resume_of_a_finished_study_tells_mlflow_what_a_killed_driver_did_not(
    smoke_study: StudyDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory = StudyDirectory(Path(shutil.copytree(smoke_study.path, tmp_path / "studies" / "smoke")))
    (directory.path / "mlflow.json").unlink()
    assert not is_behind(directory)
    away = f"http://127.0.0.1:{free_port()}"
    tracker = Tracker(directory, away, warn=lambda sentence: None)
    tracker.start()
    tracker.close()
    assert is_behind(directory)
    link = read_link(directory)
    assert link is not None and link.uri == away, "where a later resume without --mlflow goes"
    store = f"sqlite:///{tmp_path / 'studies' / 'mlflow.db'}"
    again = ("resume", "smoke", "--studies", tmp_path / "studies", "--mlflow", store, "--force")
    code, _, said = run_here(monkeypatch, capsys, *again)
    assert code == 0, said
    assert not is_behind(directory)
    assert set(read_link(directory).runs) == {"", *(trial.trial for trial in summarise(directory))}  # type: ignore[union-attr]


def test_a_server_that_never_answers_does_not_hold_up_the_end(studies: Path) -> None:
    directory = write_study(studies, ends=("complete",))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        warnings: list[str] = []
        tracker = Tracker(directory, f"http://127.0.0.1:{listening.getsockname()[1]}", warn=warnings.append)
        tracker.start()
        started = time.monotonic()
        tracker.close(timeout=1.0)
        assert time.monotonic() - started < 2.0
        # While the server is there: once its socket is closed, the thread that waits for it finds another problem.
        assert "no answer" in tracker.problem and "nt-study sync" in warnings[-1]


def test_a_server_that_restarts_while_a_study_ends_hears_of_the_end(
    studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def restarting(projection: Projection) -> bool:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("nothing listens there")
        projection.update(final=True)
        return True

    monkeypatch.setattr("study.tracking.tracker._finish", restarting)
    monkeypatch.setattr("study.tracking.tracker.RETRY", 0.01)
    directory = write_study(studies, ends=("complete",))
    warnings: list[str] = []
    record = Tracker(directory, warn=warnings.append)
    record.start()
    record.close()
    assert len(tries) == 3 and not is_behind(directory)
    assert len(warnings) == 1 and "nothing listens there" in warnings[0]


@pytest.fixture
def refusing(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that answers every request with one status."""

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param)
            self.end_headers()

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Refuse)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("refusing", "meaning"),
    [(401, "credentials"), (403, "may not write"), (500, "errors of its own")],
    indirect=["refusing"],
)
def test_what_a_server_refuses_is_said_in_a_sentence(studies: Path, refusing: str, meaning: str) -> None:
    with pytest.raises(StudyError, match=meaning):
        sync(write_study(studies, ends=()), refusing)


def test_unusable_stores_and_running_studies_are_refused(studies: Path) -> None:
    directory = write_study(studies, ends=())
    with pytest.raises(StudyError, match="no MLflow store"):
        Tracker(directory, "somewhere")
    with directory.locked(), pytest.raises(StudyError, match="is being run"):
        sync(directory)


def test_the_default_store_lies_beside_the_studies_and_moves_with_them(studies: Path) -> None:
    directory = write_study(studies, baseline="failed", ends=())
    sync(directory)
    assert (studies / "mlflow.db").exists() and (studies / "mlartifacts").is_dir()
    link = read_link(directory)
    assert link is not None and link.uri is None
    elsewhere = studies.parent / "elsewhere"
    shutil.copytree(directory.path, elsewhere / directory.name)
    assert store_of(StudyDirectory(elsewhere / directory.name), None) == f"sqlite:///{elsewhere / 'mlflow.db'}"


def test_a_store_is_never_there_in_part(studies: Path) -> None:
    """A process killed among MLflow's hundred steps to a new database left one that nothing could open."""
    write_study(studies)
    program = (
        "import os, sys; from alembic.operations import Operations; from study.tracking.store import connect\n"
        "Operations.create_table = lambda *args, **options: os._exit(9)\n"
        "connect(sys.argv[1])"
    )
    store = f"sqlite:///{studies / 'mlflow.db'}"
    assert subprocess.run([sys.executable, "-c", program, store], capture_output=True, check=False).returncode == 9
    assert not (studies / "mlflow.db").exists()
    sync(StudyDirectory(studies / "written"))
    assert runs_of(connect(store), "nt-study")


def test_a_store_that_an_older_version_left_in_part_is_told_of_in_words(studies: Path) -> None:
    directory = write_study(studies)
    with closing(sqlite3.connect(studies / "mlflow.db")) as half:
        half.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        half.commit()
    with pytest.raises(StudyError, match="half-made; move it away"):
        sync(directory)


def test_a_new_study_of_an_old_name_gets_its_own_record(studies: Path, mlflow_server: Server) -> None:
    for _ in range(2):
        sync(write_study(studies, baseline="failed", ends=()), mlflow_server.address, project="names")
        shutil.rmtree(studies)
    client = connect(mlflow_server.address)
    experiment = client.get_experiment_by_name("names")
    assert experiment is not None
    assert len(list(client.search_runs([experiment.experiment_id]))) == 2 * 2


def test_scores_without_a_correlation_are_recorded_without_it(studies: Path, mlflow_server: Server) -> None:
    directory = write_study(studies, baseline="failed", ends=("complete", ""))
    study_file = directory.read_study_file()
    constant = score_table(1, 10.0, 1.0).assign(clean_score=50.0)
    write_trial(directory, study_file, "t001", 1, end="failed")
    write_scores(directory.trial("t001") / "scores.parquet", constant, {})
    directory.write_result("t001", "complete")
    write_epochs(directory, "t001", epoch_rows(constant, 1))
    sync(directory, mlflow_server.address, project="constant")
    run = runs_of(connect(mlflow_server.address), "constant")["t001"]
    assert "validation/srocc" not in run.data.metrics
    assert run.data.metrics["validation/rmse_attacked"] > 0


def test_what_is_linked_into_a_study_reaches_no_mlflow(studies: Path, mlflow_server: Server, tmp_path: Path) -> None:
    directory = write_study(studies, ends=("complete",))
    (tmp_path / "credentials.json").write_text(json.dumps({"client_secret": "a private key"}))
    for name in ("environment.json", "front/x.json"):
        place = directory.path / name
        place.parent.mkdir(exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(tmp_path / "credentials.json")
    open_projection(directory, mlflow_server.address, "links").update(final=True)
    client = connect(mlflow_server.address)
    run = runs_of(client, "links")[""]
    assert "client_secret" not in run.data.params
    files = files_of(client, run.info.run_id)
    assert {"front/front.json", "front/pareto.html", "study.yaml"} <= files and "front/x.json" not in files
