"""Passwords and tokens in addresses: never written, logged, shown or passed on a command line."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import psutil
import pytest
from command_line import run_here
from ports import free_port
from written_study import write_study

from search_spaces.schema import load_study_file
from search_spaces.yaml_file import StudyFileError
from study.cluster.submit import command_of
from study.errors import StudyError
from study.running.run import _logging_to
from study.storage.mirror import studies_folder
from study.tracking.server import Server
from study.tracking.store import read_link, without_user, write_link
from study.tracking.tracker import Tracker
from trainables.files import write_atomically
from trainables.trust import has_secret, without_secrets

SECRET = "hunter2"
WITH_SECRET = {
    f"http://user:{SECRET}@host:5000/x": "http://user:…@host:5000/x",
    f"http://{SECRET}@host/x?y=1": "http://…@host/x?y=1",
    f"http://user%3A{SECRET}@host": "http://user:…@host",
    f"postgresql+psycopg://me:{SECRET}@host/db": "postgresql+psycopg://me:…@host/db",
    f"postgresql://me:a/b?{SECRET}@host/db": "postgresql://me:…@host/db",
    f"postgresql://me:a@{SECRET}@host/db": "postgresql://me:…@host/db",
    f"postgresql://host/db?user=me&password={SECRET}&x=1": "postgresql://host/db?user=me&password=…&x=1",
    f"postgresql://host/db?pass%77ord={SECRET}": "postgresql://host/db?pass%77ord=…",
    f"postgresql://host/db?sslpassword={SECRET}": "postgresql://host/db?sslpassword=…",
    f"postgresql://host/db?options=-c%20pwd%3D{SECRET}": "postgresql://host/db?options=…",
    f"mysql://host/db?passwd={SECRET}": "mysql://host/db?passwd=…",
    f"https://host/?access_token={SECRET}#x": "https://host/?access_token=…",
    f"connection to 'host=h password={SECRET}' failed": "connection to 'host=h password=…' failed",
    f"me:{SECRET}@host:5000": "me:…@host:5000",
    f"http:/me:{SECRET}@host": "http:…@host",
    f"https://host/?api-key={SECRET}&jwt={SECRET}": "https://host/?api-key=…&jwt=…",
    f"answer: 'denied Basic {SECRET}8=', Bearer {SECRET}.x": "answer: 'denied Basic …', Bearer …",
    f'{{"user": "me", "password": "{SECRET} x"}}': '{"user": "me", "password": "…"}',
    f"{{'aws_secret_access_key': '{SECRET}'}}": "{'aws_secret_access_key': '…'}",
    f"http://u:{SECRET}@a, http://v:{SECRET}@b": "http://u:…@a, http://v:…@b",
}
WITHOUT = [
    "http://host:5000/x@y",
    "postgresql://me@host/db?application_name=x",
    "sqlite:////a b/ü [1]/mlflow.db",
    "s3://bucket/studies?endpoint_override=http%3A%2F%2Flocalhost%3A9000&region=x",
    "the basic settings of git@host:me/project, at 12:30 by me@host, in x.py:12",
    "lr = 0.1, eps=0.005; mail me@host",
]


@pytest.mark.parametrize("text", WITH_SECRET)
def test_a_secret_is_left_out_and_nothing_else(text: str) -> None:
    assert without_secrets(text) == WITH_SECRET[text]
    assert has_secret(text) and not has_secret(WITH_SECRET[text])


@pytest.mark.parametrize("text", WITHOUT)
def test_an_address_without_a_secret_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize("address", [text for text in WITH_SECRET if "://" in text.split()[0] and "," not in text])
def test_a_secret_is_refused_where_it_would_be_kept(address: str) -> None:
    with pytest.raises(StudyFileError, match="PGPASSWORD") as refused:
        load_study_file("hyperiqa", preset="smoke", overrides={"storage": address})
    assert SECRET not in str(refused.value)
    with pytest.raises(StudyError, match="MLFLOW_TRACKING_TOKEN") as kept:
        command_of(["launch", "hyperiqa", "--mlflow", address])
    assert SECRET not in str(kept.value)


def test_a_bucket_with_a_secret_is_refused() -> None:
    with pytest.raises(StudyError, match="AWS_SECRET_ACCESS_KEY") as refused:
        studies_folder(f"s3://key:{SECRET}@bucket/studies")
    assert SECRET not in str(refused.value)


def test_a_study_file_with_a_secret_is_refused_without_showing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(f"baseline: hyperiqa\nstorage: postgresql://h/db?password={SECRET}\n")
    code, out, said = run_here(monkeypatch, capsys, "launch", "mine.yaml")
    assert code == 2 and "PGPASSWORD" in said and SECRET not in out + said


@pytest.mark.parametrize("user", [f"me:{SECRET}", SECRET])
def test_a_server_that_is_away_leaves_its_secret_in_no_file_and_no_output(
    user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    directory = write_study(tmp_path / "studies", ends=("complete",))
    address = f"http://{user}@127.0.0.1:{free_port()}"
    warnings: list[str] = []
    with _logging_to(directory.driver_log):
        tracker = Tracker(directory, address, warn=warnings.append)
        tracker.start()
        tracker.close()
        try:
            raise RuntimeError(f"no route to {address}")
        except RuntimeError:
            logging.getLogger("library").exception("failed at %s", address)
    said = run_here(monkeypatch, capsys, "sync", "written", "--mlflow", address, "--studies", tmp_path / "studies")
    write_link(directory, address, "nt-study", {})
    link = read_link(directory)
    assert link is not None and link.uri is None
    assert warnings and "nothing listens there" in said[2]
    assert SECRET not in "".join([*warnings, *said[1:]])
    for file in filter(Path.is_file, tmp_path.rglob("*")):
        assert SECRET.encode() not in file.read_bytes(), file
    assert "no route to" in directory.driver_log.read_text(encoding="utf-8")
    assert SECRET not in without_user(address)


def test_a_data_bases_password_is_on_no_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def noted(*_: object) -> None:
        started.extend(child.cmdline() for child in psutil.Process().children(recursive=True))

    monkeypatch.setattr("study.tracking.server._wait_for", noted)
    server = Server(f"postgresql://me:{SECRET}@127.0.0.1:{free_port()}/x", tmp_path / "mlartifacts", free_port())
    with server:
        pass
    assert any("mlflow" in command for command in started), started
    assert SECRET not in str(started)


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o027, 0o640), (0o022, 0o644)])
def test_files_are_as_private_as_the_user_wants(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "mlflow.json", b"{}")
    finally:
        os.umask(before)
    assert (tmp_path / "mlflow.json").stat().st_mode & 0o777 == mode
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.json"]
