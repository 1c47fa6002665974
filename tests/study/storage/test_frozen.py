"""What a resume notices (another study file, code or package), the lock, a stop from elsewhere, a full disk."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from written_study import split_rows, write_study

import study.storage.directory
from search_spaces.schema import load_study_file
from study.commands.launch import resume
from study.commands.stop import stop
from study.errors import StudyError
from study.running.run import _trouble_explained
from study.storage import frozen
from study.storage.directory import StudyDirectory, create, find_all
from study.storage.frozen import CODE, code_version, differences, software
from trainables.files import write_atomically


@pytest.fixture
def directory(tmp_path: Path) -> StudyDirectory:
    """A study that this very code launched."""
    directory = write_study(tmp_path, "frozen", ends=("complete", ""))
    directory.write_json("environment.json", {**directory.read_json("environment.json"), **software()})
    return directory


def edit(directory: StudyDirectory, before: str, after: str) -> None:
    path = directory.path / "study.yaml"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


def test_the_same_code_and_file_have_no_differences(directory: StudyDirectory) -> None:
    assert differences(directory) == []


def test_the_same_files_are_the_same_code_where_there_is_no_commit(
    directory: StudyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a cluster's nodes, to which the working tree is sent without `.git`."""
    here = code_version()
    monkeypatch.setattr("shutil.which", lambda program: None)
    monkeypatch.setenv(CODE, here)
    assert code_version() == here, "the sender's"
    monkeypatch.delenv(CODE)
    assert code_version() == metadata.version("nt-study")
    assert differences(directory) == []


def test_a_study_of_before_there_was_a_digest_goes_by_its_commit(directory: StudyDirectory) -> None:
    environment = directory.read_json("environment.json")
    del environment["sources"]
    directory.write_json("environment.json", environment)
    assert differences(directory) == []
    directory.write_json("environment.json", {**environment, "code": "0123456789abcdef"})
    assert [text.partition(" and ")[0] for text in differences(directory)] == ["the code was 0123456789"]


def test_an_edited_study_file_is_noticed_by_key(directory: StudyDirectory) -> None:
    edit(directory, "seed: 0", "seed: 7")
    assert differences(directory) == ["seed in study.yaml was 0 and is 7"]


def test_what_changes_no_number_may_change(directory: StudyDirectory) -> None:
    edit(directory, "max_failures: 1", "max_failures: 4")
    edit(directory, "trials: 2", "trials: 9")
    assert differences(directory) == []


def test_other_code_and_packages_are_named(directory: StudyDirectory) -> None:
    environment = directory.read_json("environment.json")
    before = {
        "code": "0123456789abcdef",
        "sources": "fedcba98",
        "versions": {**environment["versions"], "torch": "1.0"},
    }
    directory.write_json("environment.json", {**environment, **before})
    code, torch = differences(directory)
    assert code.startswith("the code was 0123456789 (fedcba) and is ")
    assert torch == f"torch was 1.0 and is {environment['versions']['torch']}"


def test_a_resume_refuses_differences_unless_forced_and_then_remembers_them(
    directory: StudyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen, "_check_images", lambda directory: None)  # these images are made up
    edit(directory, "seed: 0", "seed: 7")
    with pytest.raises(StudyError, match=r"seed in study.yaml was 0 and is 7.*nt-study resume frozen --force"):
        frozen.check_unchanged(directory)
    frozen.check_unchanged(directory, force=True)
    assert directory.read_json("environment.json")["forced"][0]["differences"] == ["seed in study.yaml was 0 and is 7"]
    frozen.check_unchanged(directory)


def test_images_that_changed_are_refused_even_if_forced(directory: StudyDirectory) -> None:
    with pytest.raises(ValueError, match="gained or lost"):
        frozen.check_unchanged(directory, force=True)


def test_a_study_can_only_grow(directory: StudyDirectory) -> None:
    with pytest.raises(StudyError, match="can only grow"):
        resume("frozen", trials="1", studies=directory.path.parent)
    with pytest.raises(StudyError, match="is no number"):
        resume("frozen", trials="+many", studies=directory.path.parent)


@pytest.mark.parametrize("found", ["nothing", "a dead driver's lock"])
def test_of_many_launchers_one_gets_the_study(directory: StudyDirectory, found: str) -> None:
    won: list[int] = []
    lost: list[str] = []
    together = threading.Barrier(8)

    def launch() -> None:
        together.wait()
        try:
            with directory.locked():
                won.append(1)
                _until(lambda: len(won) + len(lost) == 8)
        except StudyError as error:
            lost.append(str(error))

    for _ in range(20):
        won.clear()
        lost.clear()
        if found != "nothing":
            directory.write_json("lock", {"host": socket.gethostname(), "pid": os.getpid(), "started": 0.0})
        threads = [threading.Thread(target=launch) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(lost)) == (1, 7)
        assert all(f"process {os.getpid()} on {socket.gethostname()}" in text for text in lost)
        assert directory.owner() is None


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize("file", ["launched.yaml", "split.parquet", "environment.json", "study.yaml"])
def test_a_launch_that_dies_on_any_file_leaves_nothing_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    study_file = load_study_file("hyperiqa", preset="smoke")
    given = {"rows": split_rows(), "files": {"environment.json": software()}}
    write = study.storage.directory.write_atomically

    def killed(path: Path, content: Any) -> None:
        if path.name == file:
            raise SystemExit
        write(path, content)

    with monkeypatch.context() as dying:
        dying.setattr(study.storage.directory, "write_atomically", killed)
        with pytest.raises(SystemExit):
            create(tmp_path, "begun", study_file, **given)
    assert find_all(tmp_path) == []
    begun = create(tmp_path, "begun", study_file, **given)
    assert begun.read_study_file() == study_file and begun.owner() is None
    with pytest.raises(StudyError, match="already a study named 'begun'"):
        create(tmp_path, "begun", study_file, **given)


def test_a_suite_may_gain_attacks_but_not_lose_or_change_any(directory: StudyDirectory) -> None:
    launched = directory.read_study_file()
    more = {**launched.suite, "weak": {"name": "fgsm", "eps": 0.001}}
    directory.write_study_file(launched.model_copy(update={"suite": more}))
    assert differences(directory) == []
    directory.write_study_file(launched.model_copy(update={"suite": {"weak": more["weak"]}}))
    assert len(differences(directory)) == 1 and differences(directory)[0].startswith("suite in study.yaml was")


def test_a_lock_that_is_another_s_stays(directory: StudyDirectory) -> None:
    other = {"host": "elsewhere", "pid": 1, "started": 0.0}
    with directory.locked():
        directory.write_json("lock", other)  # a user had deleted ours, and somebody else came
    assert directory.owner() == other


def test_a_lock_whose_process_is_gone_is_taken_over(directory: StudyDirectory) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    lock = {"host": socket.gethostname(), "pid": process.pid, "started": time.time()}
    directory.write_json("lock", lock)
    assert directory.owner() is None
    with directory.locked():
        owner = directory.owner()
        assert owner is not None and owner["pid"] == os.getpid()


def test_a_lock_of_another_machine_is_respected(directory: StudyDirectory) -> None:
    directory.write_json("lock", {"host": "elsewhere", "pid": 1, "started": 0.0})
    with pytest.raises(StudyError, match=r"process 1 on elsewhere.*delete .*lock"), directory.locked():
        pass


def test_stop_reaches_the_driver_through_the_folder(
    directory: StudyDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = threading.Event()

    def driver() -> None:
        with directory.locked():
            while not directory.stop_requested():
                time.sleep(0.05)
            stopped.set()

    thread = threading.Thread(target=driver)
    thread.start()
    while directory.owner() is None:
        time.sleep(0.01)
    stop("frozen", wait=20.0, studies=directory.path.parent)
    thread.join()
    assert stopped.is_set() and not directory.stop_requested()
    assert "nt-study resume frozen" in capsys.readouterr().out
    stop("frozen", wait=0.0, studies=directory.path.parent)
    assert "nobody runs study 'frozen'" in capsys.readouterr().out


def test_a_driver_that_does_not_end_is_named(directory: StudyDirectory) -> None:
    with directory.locked(), pytest.raises(StudyError, match=f"process {os.getpid()}"):
        stop("frozen", wait=0.0, studies=directory.path.parent)


def test_a_full_disk_is_one_sentence_and_loses_nothing(directory: StudyDirectory, small_disk: Path) -> None:
    target = small_disk / "scores.json"
    write_atomically(target, json.dumps({"kept": True}).encode())
    with pytest.raises(StudyError, match=r"no space left.*nt-study resume frozen"), _trouble_explained(directory):
        write_atomically(target, os.urandom(4_000_000))
    assert json.loads(target.read_text()) == {"kept": True}
    assert list(small_disk.iterdir()) == [target], "nothing half-written stays"


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS, errno.ESTALE])
def test_a_failing_disk_is_one_sentence(directory: StudyDirectory, code: int) -> None:
    said = rf"the disk of .* fails \({os.strerror(code)}\); what was finished is kept: .*nt-study resume frozen"
    with pytest.raises(StudyError, match=said), _trouble_explained(directory):
        raise OSError(code, os.strerror(code))


def test_errors_that_are_not_the_disks_are_not_hidden(directory: StudyDirectory) -> None:
    with pytest.raises(OSError, match="broken"), _trouble_explained(directory):
        raise OSError(errno.EBADF, "broken")
