"""A PostgreSQL server that lives as long as the tests that use it."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

HOST = "127.0.0.1"
PASSWORD = "open sesame"
SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", f"listen_addresses={HOST}")
"""Nothing outlives the tests, so nothing need reach the disk."""


def find_programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`; Debian keeps it off the PATH."""
    if found := shutil.which("pg_ctl"):
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


PROGRAMS = find_programs()


class Postgres:
    """The server as a context. It refuses to run as root, who lends it the account `postgres`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._account = "postgres" if os.geteuid() == 0 else None
        self._numbers = itertools.count()
        self._folder = Path()

    def url(self, database: str = "postgres", password: str = PASSWORD) -> str:
        """What SQLAlchemy, and so MLflow and Optuna, take for a database."""
        return f"postgresql://postgres:{password.replace(' ', '%20')}@{HOST}:{self.port}/{database}"

    def fresh(self) -> str:
        """The url of a new, empty database."""
        name = f"test{next(self._numbers)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        return self.url(name)

    def __enter__(self) -> Postgres:
        # Not in pytest's folder, which only its owner may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="nt-study-postgres-"))
        if self._account:
            shutil.chown(self._folder, self._account)
        password = self._folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        password.chmod(0o644)
        self._run("initdb", "--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync")
        self.start()
        return self

    def start(self) -> None:
        options = " ".join(f"-c {setting}" for setting in (*SETTINGS, f"unix_socket_directories={self._folder}"))
        self._run("pg_ctl", "start", "--wait", f"--options=-p {self.port} {options}", f"--log={self._folder / 'log'}")

    def kill(self) -> None:
        """SIGKILL for the server; what it has started ends with it."""
        number = int((self._folder / "data" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        os.kill(number, signal.SIGKILL)

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", "stop", "--mode=immediate")
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        assert PROGRAMS is not None
        command = [str(PROGRAMS / program), f"--pgdata={self._folder / 'data'}", *arguments]
        ran = subprocess.run(
            command, cwd=self._folder, user=self._account, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert ran.returncode == 0, ran.stderr
