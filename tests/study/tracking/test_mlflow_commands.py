"""The commands that show studies in MLflow, as a user calls them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import run_here
from mlflow_records import files_of, runs_of
from ports import free_port
from written_study import write_study

from study.tracking.server import Server
from study.tracking.store import connect

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    return tmp_path / "studies"


@pytest.fixture
def nt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], studies: Path) -> Command:
    """The command line on these studies."""
    return lambda *arguments: run_here(monkeypatch, capsys, *arguments, "--studies", studies)


def test_a_comparison_is_two_files_and_one_run_however_often_it_is_made(
    nt: Command, studies: Path, tmp_path: Path, mlflow_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "comparison")
    for name in ("one", "two"):
        write_study(studies, name, ends=("complete",))
    out = tmp_path / "out"
    for names in (("one", "two"), ("two", "one")):
        code, said, _ = nt("compare", *names, "--out", out, "--record", "--mlflow", mlflow_server.address)
        assert code == 0
        assert "study one" in said and "study two" in said
    page = (out / "pareto.html").read_text(encoding="utf-8")
    assert all(f'"{name}/t000"' in page for name in ("one", "two"))
    assert (out / "pareto.png").read_bytes().startswith(b"\x89PNG")
    client = connect(mlflow_server.address)
    (run,) = runs_of(client, "comparison").values()
    assert run.info.run_name == "comparison of one, two"
    assert files_of(client, run.info.run_id) == {"front/pareto.html", "front/pareto.png"}
    assert f"{mlflow_server.address}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/" in said


def test_a_comparison_that_makes_no_sense_is_refused(nt: Command, studies: Path, tmp_path: Path) -> None:
    write_study(studies, "one", ends=("complete",))
    other = write_study(studies, "other", ends=("complete",))
    other.write_study_file(other.read_study_file().model_copy(update={"objectives": ("srocc", "gradient_l1")}))
    write_study(studies, "open", baseline="", ends=())
    for names, sentence in (
        (("one", "one"), "two different studies"),
        (("one", "other"), "different objectives"),
        (("one", "open"), "no front yet"),
        (("one", "ther"), "did you mean 'other'"),
    ):
        assert_said(nt("compare", *names, "--out", tmp_path / "out"), sentence)
    assert not (tmp_path / "out").exists()


def test_ui_prints_where_a_study_is_on_a_server(
    nt: Command, studies: Path, mlflow_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "links")
    write_study(studies, "linked", ends=("complete",))
    code, said, _ = nt("ui", "linked", "--mlflow", mlflow_server.address)
    assert code == 0 and "View run" not in said
    client = connect(mlflow_server.address)
    study = runs_of(client, "links")[""]
    links = dict(re.findall(r"^  (\w+) +(\S+)$", said, re.MULTILINE))
    assert set(links) == {"front", "summary", "trials", "charts"}
    assert max(map(len, links.values())) < 160, "short enough to be copied from a terminal"
    assert all(link.startswith(f"{mlflow_server.address}/#/") for link in links.values())
    assert f"runs/{study.info.run_id}/artifacts/front/pareto.html" in links["front"]
    assert "front/pareto.html" in files_of(client, study.info.run_id)


@pytest.mark.parametrize(
    "command", [("ui", "lost"), ("sync", "lost"), ("register", "lost"), ("compare", "lost", "lots")]
)
def test_an_unknown_study_is_named_with_the_nearest(nt: Command, studies: Path, command: tuple[str, ...]) -> None:
    write_study(studies, "last", ends=())
    assert_said(nt(*command), "did you mean 'last'")


def test_nothing_to_show_and_nowhere_to_write_are_said_in_a_sentence(nt: Command, studies: Path) -> None:
    assert_said(nt("ui"), "no study in")
    write_study(studies, "open", baseline="", ends=())
    nowhere = f"http://127.0.0.1:{free_port()}"
    for arguments, sentence in (
        (("register", "open"), "no front yet"),
        (("sync", "open", "--mlflow", nowhere), "nothing listens there"),
        (("ui", "open", "--mlflow", nowhere), "nothing listens there"),
        (("sync", "open", "--mlflow", "elsewhere"), "no MLflow store"),
    ):
        assert_said(nt(*arguments), sentence)


def assert_said(ran: tuple[int, str, str], sentence: str) -> None:
    """The command failed with one line that holds `sentence`."""
    code, _, said = ran
    assert code == 2
    assert sentence in said and said.count("\n") == 1
