"""Studies in a bucket of a real S3-compatible server: copies that agree, one driver at a time, no half of anything."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from command_line import run_here
from object_store import ObjectStore
from ports import free_port
from written_study import write_study

from study.errors import StudyError
from study.search.durable import DurableSearch, open_optuna
from study.search.journal import PIECES, JournalStorage
from study.storage import lease
from study.storage.directory import StudyDirectory, find, find_all, open_directory
from study.storage.lease import Lease
from study.storage.mirror import Mirror, mirror_of, studies_folder
from study.storage.summaries import summarise
from trainables.config import BASELINE

Machine = Callable[[str], Path]


@pytest.fixture
def address(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    return object_store.fresh(monkeypatch) + "/some/studies"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> Machine:
    """`machine("a")` is the studies' working copy on a machine; each has a cache of its own."""

    def on(name: str) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return studies_folder(address)

    return on


def bucket_of(folder: Path) -> Mirror:
    mirror = mirror_of(folder)
    assert mirror is not None
    return mirror


def names(mirror: Mirror) -> set[str]:
    return {file.relative_to(mirror.root).as_posix() for file in mirror.files(mirror.root)}


def test_a_plain_folder_has_no_bucket(tmp_path: Path) -> None:
    assert studies_folder(str(tmp_path)) == tmp_path
    assert studies_folder(f"file://{tmp_path}/a%20b") == tmp_path / "a b"
    assert mirror_of(tmp_path) is None


@pytest.mark.parametrize("place", ["nfs://host/studies", "s3://", "http://host/studies"])
def test_an_address_that_is_no_bucket_is_refused(place: str) -> None:
    with pytest.raises(StudyError, match="neither a folder nor a bucket's address"):
        studies_folder(place)


def test_what_one_machine_pushes_another_pulls(machine: Machine) -> None:
    here = machine("a")
    (here / "s" / "trials").mkdir(parents=True)
    for name, content in {"one": "1", "trials/two": "22", ".hidden": "", "lock": ""}.items():
        (here / "s" / name).write_text(content, encoding="utf-8")
    bucket_of(here).push(here / "s")
    assert names(bucket_of(here)) == {"s/one", "s/trials/two"}, "what is of this machine alone stays here"

    there = machine("b")
    (there / "s").mkdir()
    (there / "s" / "left over").touch()
    mirror = bucket_of(there)
    mirror.pull(there / "s", lambda file: file.name != "one")
    assert {file.name for file in (there / "s").rglob("*") if file.is_file()} == {"two"}
    assert (there / "s" / "trials" / "two").read_text(encoding="utf-8") == "22"
    mirror.fetch(there / "s" / "one")
    assert (there / "s" / "one").read_text(encoding="utf-8") == "1"
    mirror.delete(there / "s" / "one")
    mirror.delete(there / "s" / "one")
    assert names(mirror) == {"s/trials/two"} and not (there / "s" / "one").exists()


def test_only_what_changed_travels_and_in_the_order_it_was_written(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine("a")
    mirror = bucket_of(here)
    for number, name in enumerate(("z", "a", "m")):
        (here / name).write_text(name, encoding="utf-8")
        os.utime(here / name, (1000.5 + number, 1000.5 + number))
    sent: list[str] = []
    write = Mirror.write

    def noted(self: Mirror, path: Path, content: bytes) -> None:
        sent.append(path.name)
        write(self, path, content)

    monkeypatch.setattr(Mirror, "write", noted)
    mirror.push(here)
    assert sent == ["z", "a", "m"]
    mirror.push(here)
    (here / "a").write_text("b", encoding="utf-8")
    mirror.push(here)
    assert sent[3:] == ["a"]
    before = (here / "z").stat().st_ino
    mirror.pull(here)
    assert (here / "z").stat().st_ino == before, "what agrees is not fetched again"


def test_commands_read_a_bucket_from_an_empty_machine(
    machine: Machine,
    address: str,
    smoke_study: StudyDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = machine("a")
    shutil.copytree(smoke_study.path, here / "smoke", ignore=shutil.ignore_patterns("optuna.db"))
    bucket_of(here).push(here / "smoke")
    there = machine("b")
    code, listed, _ = run_here(monkeypatch, capsys, "list", "--studies", address)
    assert code == 0 and "smoke" in listed and f"{len(summarise(smoke_study))} complete" in listed
    code, said, _ = run_here(monkeypatch, capsys, "status", "smoke", "--studies", address)
    assert code == 0 and f"folder: {address}/smoke" in said
    assert f"search: {address}/smoke/optuna" in said
    assert not list(there.rglob("*.safetensors")), "no weights are needed for that"
    code, front, _ = run_here(monkeypatch, capsys, "front", "smoke", "--studies", address, "--json")
    assert code == 0
    assert front == run_here(monkeypatch, capsys, "front", "smoke", "--studies", smoke_study.path.parent, "--json")[1]
    for place, out in ((address, "from bucket"), (str(smoke_study.path.parent), "from folder")):
        code, _, said = run_here(monkeypatch, capsys, "export", "smoke", "--studies", place, "--out", tmp_path / out)
        assert code == 0, said
    files = sorted(path.name for path in (tmp_path / "from folder").iterdir())
    for name in files:
        assert (tmp_path / "from bucket" / name).read_bytes() == (tmp_path / "from folder" / name).read_bytes()
    code, _, said = run_here(monkeypatch, capsys, "front", "smoky", "--studies", address)
    assert code == 2 and f"no study named 'smoky' in {address} (did you mean 'smoke'?)" in said


def test_one_driver_at_a_time_on_whatever_machine(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_study(machine("a"), "s")
    first.send()
    monkeypatch.setattr("socket.gethostname", lambda: "machine-a")
    with first.locked():
        monkeypatch.setattr("socket.gethostname", lambda: "machine-b")
        second = find(machine("b"), "s")
        owner = second.owner()
        assert owner is not None and owner["host"] == "machine-a"
        with pytest.raises(StudyError, match=r"is being run by process \d+ on machine-a"), second.locked():
            raise AssertionError("two drivers")
        assert first.owner() is not None, "the refused one took nothing with it"
        monkeypatch.setattr("socket.gethostname", lambda: "machine-a")
    assert second.owner() is None
    with second.locked():
        assert second.owner() is not None


def test_a_holder_that_is_not_heard_of_is_replaced_and_notices(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.2)
    folder = machine("a") / "s"
    mirror = bucket_of(folder)
    stopped: list[str] = []

    def hold(name: str) -> Lease:
        return Lease(
            mirror,
            folder,
            {"pid": 1, "host": name},
            is_gone=lambda content: content["host"] == "dead",
            stop=lambda: stopped.append(name),
            exchange=lambda: None,
        )

    with hold("living") as living, pytest.raises(StudyError, match="run by process 1 on living"), hold("second"):
        raise AssertionError("two holders")
    assert not living.lost and not stopped and not names(mirror)

    with hold("dead") as dead, hold("heir") as heir:
        wait_for(lambda: dead.lost)
        assert stopped == ["dead"] and not heir.lost
        lease.ask_to_stop(mirror, folder)
        wait_for(lambda: "heir" in stopped)
    assert not names(mirror)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_driver_begins_with_what_the_bucket_has(machine: Machine) -> None:
    first = write_study(machine("a"), "s", ends=("complete", "complete", ""))
    bucket_of(first.path).push(first.path)
    second = find(machine("b"), "s")
    (second.path / "study.yaml").write_text("a version that never went up", encoding="utf-8")
    (second.path / "trials" / "t007").mkdir()
    (second.path / "trials" / "t007" / "config.json").write_text("{}", encoding="utf-8")
    with second.locked():
        assert second.read_study_file() == first.read_study_file()
        assert not (second.path / "trials" / "t007" / "config.json").exists()
        second.write_result("t002", "failed", "no memory")
    assert find(machine("a"), "s").read_json("trials/t002/result.json")["reason"] == "no memory"


def test_a_trial_gets_what_it_needs_and_leaves_what_the_study_needs(machine: Machine) -> None:
    driver = write_study(machine("a"), "s", ends=("complete", ""))
    (driver.trial(BASELINE) / "start.safetensors").write_bytes(b"weights")
    bucket_of(driver.path).push(driver.path)
    machine("b")
    node = open_directory(driver.address)
    node.fetch_for("t001")
    there = {file.relative_to(node.path).as_posix() for file in node.path.rglob("*") if file.is_file()}
    own = {"trials/t001/config.json", "trials/t001/epochs.jsonl"}
    assert there == {"study.yaml", "split.parquet", "trials/baseline/start.safetensors", *own}
    (node.trial("t001") / "checkpoint.pt").write_bytes(b"half-way")
    node.send_from("t001")
    (node.trial("t001") / "scores.parquet").write_bytes((driver.trial("t000") / "scores.parquet").read_bytes())
    node.send_from("t001")
    node.leave("t001")
    assert not node.trial("t001").exists(), "a node's disk does not fill with the study"
    machine("a")
    driver.fetch_trial("t001")
    assert (driver.trial("t001") / "scores.parquet").exists()
    assert "s/trials/t001/checkpoint.pt" not in names(bucket_of(driver.path))


def test_optuna_remembers_what_was_committed(machine: Machine) -> None:
    directory = write_study(machine("a"), "s", ends=())
    study_file = directory.read_study_file()
    search = DurableSearch(directory, study_file, open_optuna(directory, study_file))
    suggested = search.suggest("ray-1")
    assert isinstance(suggested, dict)
    directory.send()
    uri = bucket_of(directory.path).uri
    machine("b")
    again = find(studies_folder(uri), "s")
    bucket_of(again.path).pull(again.search_log)
    remembered = open_optuna(again, study_file).trials
    assert [trial.params for trial in remembered] == [suggested["point"]]
    assert remembered[0].state == optuna.trial.TrialState.RUNNING
    assert remembered[0].user_attrs["trial"] == suggested["trial"] == "t000"


def test_pieces_of_a_long_log_are_joined(machine: Machine) -> None:
    folder = machine("a") / "s" / "optuna"
    mirror = bucket_of(folder)
    study = optuna.create_study(storage=JournalStorage(folder, mirror), study_name="s")
    for number in range(PIECES + 1):
        study.set_user_attr("number", number)
        study._storage.commit()  # type: ignore[attr-defined]
    joined = JournalStorage(folder, mirror)
    assert len(names(mirror)) == 1
    assert optuna.load_study(storage=joined, study_name="s").user_attrs == {"number": PIECES}
    # Killed between joining and deleting: the old pieces say nothing new.
    (folder / f"{PIECES // 2:09d}.jsonl").write_text(
        "".join(f"{line}\n" for line in joined.pieces.lines[PIECES // 2 :][:3]), encoding="utf-8"
    )
    assert JournalStorage(folder, mirror).pieces.lines == joined.pieces.lines


@pytest.mark.parametrize("command", [("list",), ("front", "s"), ("launch", "hyperiqa")])
def test_a_bucket_that_is_not_there_is_one_sentence(
    command: tuple[str, ...],
    object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    object_store.fresh(monkeypatch)
    code, _, said = run_here(monkeypatch, capsys, *command, "--studies", "s3://no-such-bucket/studies")
    assert code == 2
    assert said == (
        "nt-study: s3://no-such-bucket/studies cannot be read: there is no such bucket; make it or choose another "
        "--studies\n"
    )


def test_an_endpoint_where_nothing_listens_is_one_sentence(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(StudyError) as refused:
        find_all(studies_folder(address))
    assert f"nothing listens at the endpoint http://127.0.0.1:{port}; is AWS_ENDPOINT_URL right?" in str(refused.value)


def test_credentials_that_are_none_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with ObjectStore(free_port(), checked_after=2) as strict:
        address = strict.fresh(monkeypatch)
        with pytest.raises(StudyError, match="these credentials may not, or there are none; set AWS_ACCESS_KEY_ID"):
            for _ in range(3):
                find_all(studies_folder(address))


def test_every_machine_attacks_with_the_surrogate_that_the_study_keeps(machine: Machine, tmp_path: Path) -> None:
    """Each has trained one of the same name, and on other hardware that makes other weights."""
    for name in ("a", "b"):
        directory = StudyDirectory(machine(name) / "s")
        cache = tmp_path / name / "nt-study"
        (cache / "surrogates" / "resnet").mkdir(parents=True)
        (cache / "surrogates" / "resnet" / "weights").write_text(f"trained on {name}", encoding="utf-8")
        directory.fetch_black_box()
        kept = directory.keep_black_box(cache / "surrogates" / "resnet", cache)
        directory.send_black_box()
        assert kept == Path("black_box/surrogates/resnet")
        assert (directory.path / kept / "weights").read_text(encoding="utf-8") == "trained on a"
