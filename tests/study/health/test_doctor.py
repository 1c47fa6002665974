"""`nt-study doctor` on machines that are broken on purpose."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import run_here
from ports import free_port
from written_study import write_study

from study.health import machine, packages, services
from study.health.findings import Finding
from study.known import remember
from study.storage.directory import StudyDirectory


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyDirectory:
    """A study in a machine's home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return write_study(tmp_path / "studies")


def of(found: dict[str, Any], what: str) -> dict[str, Any]:
    return next(finding for finding in found["findings"] if finding["what"] == what)


def test_a_sound_machine_is_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], study: StudyDirectory
) -> None:
    before = sorted(study.path.parent.rglob("*"))
    code, out, error = run_here(monkeypatch, capsys, "doctor", "--json", "--studies", study.path.parent)
    found = json.loads(out)
    assert (code, found["broken"], error) == (0, 0, "")
    looked_at = [finding["what"] for finding in found["findings"]]
    for what in (
        "processor",
        "memory",
        "the studies",
        "GPU",
        "packages",
        "search",
        "open ports",
        "token files",
        "clock",
    ):
        assert what in looked_at
    assert all(finding["remedy"] for finding in found["findings"] if finding["state"] != "ok")
    assert sorted(study.path.parent.rglob("*")) == before


def test_a_dead_server_that_one_names_is_broken_with_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], study: StudyDirectory
) -> None:
    dead = f"http://user:secret@127.0.0.1:{free_port()}"
    code, out, _ = run_here(monkeypatch, capsys, "doctor", "--mlflow", dead, "--studies", study.path.parent)
    assert code == 1 and "BROKEN  MLflow" in out and "refused" in out and "secret" not in out
    assert "1 broken" in out


@contextmanager
def a_server(status: int) -> Iterator[tuple[str, list[str]]]:
    """A server that answers everything so, and what it was asked."""
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (401, "ok"), (500, "broken")])
def test_a_server_is_asked_whether_it_is_well(status: int, state: str) -> None:
    with a_server(status) as (address, asked):
        assert services.server("MLflow", address).state == state
    assert asked == ["/health"]


def test_a_server_that_only_a_studys_folder_names_is_not_asked() -> None:
    with a_server(200) as (address, asked):
        (unasked,) = services.servers([], [("MLflow", address)])
        assert unasked.state == "hurts" and "--mlflow" in unasked.remedy and not asked
        remember(address)
        (known,) = services.servers([], [("MLflow", address), ("MLflow", address)])
        assert known.state == "ok" and len(asked) == 1


def test_a_search_whose_database_is_none_is_broken(tmp_path: Path) -> None:
    damaged = tmp_path / "optuna.db"
    damaged.write_bytes(b"not a database, whatever its name " * 100)
    assert services.server("search", f"sqlite:///{damaged}").state == "broken"
    assert services.server("search", f"sqlite:///{tmp_path}/none/optuna.db").state == "broken"
    assert services.server("search", f"sqlite:///{tmp_path}/new.db").state == "ok"
    assert not (tmp_path / "new.db").exists()
    away = services.server("search", f"postgresql+psycopg://ada:secret@127.0.0.1:{free_port()}/studies")
    assert away.state == "broken" and "secret" not in away.found


def test_a_full_disk_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], small_disk: Path
) -> None:
    (little,) = (finding for finding in machine.disks(small_disk) if finding.what == "the studies")
    assert little.state == "broken" and "1 MB are free" in little.found
    with pytest.raises(OSError, match="No space"), (small_disk / "filling").open("wb") as file:
        while True:
            file.write(bytes(4096))
    code, out, _ = run_here(monkeypatch, capsys, "doctor", "--json", "--studies", small_disk / "studies")
    full = of(json.loads(out), "the studies")
    assert code == 1 and full["state"] == "broken" and "No space left" in full["found"] and full["remedy"]
    assert of(json.loads(out), "clock")["remedy"], "which could not be looked at"


def test_wrong_versions_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"torch==1.0 # old\nnumpy=={version('numpy')}\nnot-here==1\npywin32==1 ; sys_platform == 'win32'\n")
    needed, tested = packages.versions(lock)
    assert needed.state == "ok"
    assert (
        tested.state == "hurts"
        and tested.found == f"torch is {version('torch')}, not ==1.0"
        and str(lock) in tested.remedy
    )
    requires = ["torch==1.0", "not-here>=2", "pytest>=999; extra == 'dev'"]
    monkeypatch.setattr(packages.importlib.metadata, "requires", lambda name: requires)
    (broken,) = packages.versions(tmp_path / "none")
    assert broken.state == "broken"
    assert broken.found == f"not-here is missing, torch is {version('torch')}, not ==1.0"


def test_packages_that_each_process_compiles_again_hurt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loose_package.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(packages, "LARGE", ("loose_package",))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    found = packages.compiled()
    assert found.state == "hurts" and "PYTHONDONTWRITEBYTECODE" in found.found and "compileall" in found.remedy


def test_tokens_that_others_may_read_hurt(tmp_path: Path) -> None:
    assert services.secrets(tmp_path).found == "none here"
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.touch(0o600)
    assert services.secrets(tmp_path).state == "ok"
    token.chmod(0o644)
    assert services.secrets(tmp_path) == Finding(
        "token files", "hurts", f"others may read {token}", f"chmod 600 {token}"
    )
    assert token.stat().st_mode & 0o777 == 0o644, "a doctor looks and does not operate"


@pytest.mark.parametrize(("host", "state"), [("127.0.0.1", "ok"), ("0.0.0.0", "hurts")])
def test_a_ray_that_other_machines_reach_hurts(host: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_is_of_ray", lambda pid: pid == os.getpid())
    with socket.create_server((host, 0)) as server:
        found = services.listening()
        assert found.state == state
        assert (f"{host}:{server.getsockname()[1]}" in found.found) == (state == "hurts")


def test_a_clock_apart_from_the_disks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.clock(tmp_path).state == "ok"
    now = time.time
    for ahead, state in ((20, "hurts"), (-300, "broken")):
        monkeypatch.setattr(machine.time, "time", lambda ahead=ahead: now() + ahead)
        assert machine.clock(tmp_path).state == state


def test_memory_goes_by_the_containers_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "GROUP", limit)
    limit.write_text("max\n")
    assert f"of {psutil.virtual_memory().total / 1e9:.1f} GB" in machine.memory().found
    for size, state, said in ((int(1e9), "broken", "close other programs"), (int(4.5e9), "hurts", "size mobile fit")):
        limit.write_text(f"{size}\n")
        assert machine.memory().state == state and said in machine.memory().remedy


def test_a_card_that_pytorch_cannot_use_hurts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(machine, "_driver", lambda: None)
    assert machine.gpu().state == "ok"
    monkeypatch.setattr(machine, "_driver", lambda: "550.54")
    found = machine.gpu()
    assert found.state == "hurts" and "550.54" in found.found and found.remedy
