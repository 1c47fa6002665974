"""Deleting and renaming studies, dates in their list, a front as CSV or in a browser, two studies compared."""

from __future__ import annotations

import io
import json
import os
import re
import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path

import optuna
import pandas as pd
import pytest
from command_line import run_here
from rich.console import Console
from written_study import write_study

from search_spaces.schema import load_study_file
from study.running.progress import Progress
from study.search.durable import open_optuna
from study.storage.directory import StudyDirectory
from study.storage.summaries import summarise
from study.storage.whole import MADE, others_file
from study.tracking.store import PROJECT, connect, store_uri, write_link
from study.tracking.tracker import sync

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """The command line, in this process and in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return partial(run_here, monkeypatch, capsys)


@pytest.fixture
def study(nt: Command) -> StudyDirectory:
    return write_study(Path("studies"), "mine", ends=("complete",))


def runs(studies: Path) -> list[dict[str, str]]:
    """The tags of every run that MLflow shows."""
    client = connect(f"sqlite:///{(studies / 'mlflow.db').resolve()}")
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return [run.data.tags for run in found]


@pytest.mark.slow
def test_a_renamed_study_is_the_same_study(nt: Command, study: StudyDirectory) -> None:
    search = open_optuna(study, study.read_study_file())
    search.add_trial(optuna.trial.create_trial(values=[0.5, 1.0]))
    recorded = sync(study)
    before = {file.name: file.read_bytes() for file in study.trial("t000").iterdir()}
    code, out, _ = nt("rename", "mine", "better-name")
    assert code == 0 and "nt-study status better-name" in out
    moved = StudyDirectory(Path("studies/better-name"))
    assert not study.path.exists() and moved.owner() is None
    assert {file.name: file.read_bytes() for file in moved.trial("t000").iterdir()} == before
    kept = open_optuna(moved, moved.read_study_file())
    assert [trial.values for trial in kept.trials][-1] == [0.5, 1.0]
    assert optuna.get_all_study_names(moved.optuna_url) == ["better-name"]
    assert {tags["study"] for tags in runs(Path("studies"))} == {"better-name"}
    assert sync(moved) == recorded and len(runs(Path("studies"))) == recorded + 1, "no run was made twice"


def test_a_deleted_study_leaves_nothing_but_its_neighbours(nt: Command, study: StudyDirectory) -> None:
    write_study(Path("studies"), "other")
    sync(study)
    code, out, error = nt("delete", "mine", "--yes")
    assert (code, error) == (0, "") and "deleted" in out
    assert not study.path.exists() and Path("studies/other/study.yaml").exists()
    assert runs(Path("studies")) == []


def test_what_kills_leave_in_a_study_goes_with_it(nt: Command, study: StudyDirectory) -> None:
    for place in (
        "mlflow.behind",
        "trials/t000/.scores.parquet.0a1b2c3d",
        "trials/t000/checkpoint.pt",
        "optuna.db-wal",
    ):
        (study.path / place).touch()
    code, _, error = nt("delete", "mine", "--yes")
    assert (code, error) == (0, "") and not study.path.exists()


def test_a_real_study_holds_nothing_that_is_not_a_study_s(smoke_study: StudyDirectory) -> None:
    assert others_file(smoke_study.path, MADE) is None


def test_what_cannot_be_deleted_in_mlflow_is_said_to_stay(nt: Command, study: StudyDirectory) -> None:
    write_link(study, store_uri(Path("studies"), None), PROJECT, {})
    Path("studies/mlflow.db").write_bytes(b"no database")
    code, _, error = nt("delete", "mine", "--yes")
    assert code == 0 and error.startswith("nt-study: its runs in MLflow stay: ") and error.count("\n") == 1
    assert not study.path.exists()


def test_only_a_study_and_nothing_else_is_deleted(nt: Command, study: StudyDirectory) -> None:
    def refused(*arguments: str) -> str:
        code, _, error = nt(*arguments)
        assert code == 2 and error.count("\n") == 1
        assert (study.path / "study.yaml").exists()
        return error

    assert "add --yes" in refused("delete", "mine")
    (study.path / "thesis.tex").touch()
    assert "thesis.tex is no file of a study's" in refused("delete", "mine", "--yes")
    (study.path / "thesis.tex").unlink()
    for place in ("trials/t000/notes.txt", "logs/notes.txt", "confirm/mine.csv", ".notes"):
        (study.path / place).parent.mkdir(parents=True, exist_ok=True)
        (study.path / place).touch()
        assert f"{place} is no file of a study's" in refused("delete", "mine", "--yes")
        (study.path / place).unlink()
    with study.locked():
        assert f"process {os.getpid()}" in refused("delete", "mine", "--yes")
        assert "nt-study stop mine" in refused("rename", "mine", "new")
    Path("studies/link").symlink_to("mine")
    assert "is a link" in refused("delete", "link", "--yes")
    Path("studies/folder").mkdir()
    assert "no study named 'folder'" in refused("delete", "folder", "--yes")
    assert "is no study" in refused("rename", "mine", "folder")
    assert "cannot name a study" in refused("rename", "mine", "../up")
    assert "already a study" in refused("rename", "mine", "mine")


def test_the_list_has_dates_and_no_line_is_broken_in_a_pipe(
    nt: Command, study: StudyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # libraries that other tests import set it
    write_study(Path("studies"), "a-name-that-is-as-long-as-names-of-studies-may-be-which-is-64-c")
    _, out, _ = nt("list")
    title, *lines = out.splitlines()
    assert title.split() == ["study", "launched", "baseline", "data", "trials"] and len(lines) == 2
    assert all(re.search(r" 20\d\d-\d\d-\d\d \d\d:\d\d +hyperiqa +photos:small +[24] complete", line) for line in lines)
    environment = study.read_json("environment.json")
    study.write_json("environment.json", {**environment, "launched": "2024-02-29T08:00:00+00:00"})
    found = json.loads(nt("list", "--json")[1])["studies"]
    assert found[-1]["launched"] == "2024-02-29T08:00:00+00:00"


def test_a_front_as_csv_says_what_json_says(nt: Command, study: StudyDirectory) -> None:
    table = pd.read_csv(io.StringIO(nt("front", "mine", "--csv")[1]))
    said = json.loads(nt("front", "mine", "--json")[1])
    for point in said["front"]:
        (row,) = table[table["trial"] == point["trial"]].to_dict("records")
        assert row["test_rmse_attacked"] == pytest.approx(point["test"]["rmse_attacked"])
    code, _, error = nt("front", "mine", "--csv", "--json")
    assert code == 2 and "one of them" in error


def test_a_front_opens_in_a_browser(nt: Command, study: StudyDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def browse(address: str) -> bool:
        opened.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", browse)
    assert nt("front", "mine", "--open")[0] == 0
    assert opened == [(study.front / "pareto.html").resolve().as_uri()] and (study.front / "pareto.html").exists()
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    code, table, said = nt("front", "mine", "--open")
    assert code == 0 and "knee" in table and "pareto.html" in said, "a server has no browser, and shows the table"


def test_a_comparison_ends_in_a_verdict_with_intervals(nt: Command, study: StudyDirectory) -> None:
    write_study(Path("studies"), "other", ends=("complete",) * 6)
    code, out, _ = nt("compare", "mine", "other")
    assert code == 0 and "other minus mine, on test photographs [95 % interval, paired]" in out
    assert "other is better in attacked RMSE" in out
    (against,) = json.loads(nt("compare", "mine", "other", "--json")[1])["against"]
    assert against["study"] == "other" and against["verdict"] in out
    for row in against["differences"]:
        assert row["low"] <= row["difference"] <= row["high"]
        assert (row["better"] is None) == (row["low"] <= 0 <= row["high"])


def test_studies_of_several_defences_are_asked_which_is_best(nt: Command, study: StudyDirectory) -> None:
    write_study(Path("studies"), "other", ends=("complete",) * 6, defence="trades")
    code, out, error = nt("compare", "mine", "other")
    assert code == 0, error
    assert "At equal accuracy" in out and "Under the worst attack" in out and "At equal cost" in out
    page, text = (Path("comparison") / name for name in ("pareto.html", "defences.md"))
    asked = json.loads(nt("compare", "mine", "other", "--json")[1])["defences"]
    assert len(asked) == 4
    for answer in asked:
        assert answer["verdict"] in out and answer["verdict"] in text.read_text(encoding="utf-8")
    assert "Which defence is best" in page.read_text(encoding="utf-8")
    assert {one["name"] for one in asked[0]["standings"]} == {"mine", "other (trades)"}
    code, out, error = nt("report", "mine", "other", "--out", "report")
    assert code == 0, error
    assert "Which defence is best" in Path("report/report.html").read_text(encoding="utf-8")


def test_a_retraining_goes_by_the_names_of_its_study(study: StudyDirectory) -> None:
    console = Console(file=io.StringIO(), width=200)
    progress = Progress(load_study_file("hyperiqa", preset="smoke"), summarise(study), console, names={"t000": "t017"})
    console.print(progress.render())
    progress._end(type("Trial", (), {"config": {"trial": "t000"}}), "complete")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.count("t017") == 2 and "t000" not in shown and "baseline" in shown
