"""What a study talks to: MLflow's server, the search's database, Ray; and the files with their passwords."""

from __future__ import annotations

import ipaddress
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil

from study.health.findings import Finding
from study.known import is_known
from trainables.trust import without_secrets

SECONDS = 5
"""How long a server may take to answer."""
SECRETS = (".ray/auth_token", ".pgpass", ".netrc", ".aws/credentials", ".mlflow/credentials")
"""Below the home folder: files with tokens and passwords that a study's libraries read."""
RAY = ("raylet", "gcs_server", "ray::", "dashboard", "ray-dashboard")
"""What the processes of Ray are called."""


def server(what: str, address: str) -> Finding:
    """Whether an MLflow server or store, or a search's database, that the user has named can be used."""
    shown = without_secrets(address)
    try:
        if address.startswith(("http://", "https://")):
            _ask(address)
        else:
            _connect(address)
    except Exception as error:  # of whichever driver of whichever database
        said = str(getattr(error, "reason", None) or getattr(error, "orig", None) or error).strip().splitlines()
        reason = without_secrets(said[0] if said else type(error).__name__)
        remedy = "start it, or name another; trials run without it" if what == "MLflow" else "start it, or name another"
        return Finding(what, "broken", f"{shown} cannot be used: {reason}", remedy)
    return Finding(what, "ok", f"{shown} answers")


def _ask(address: str) -> None:
    """MLflow's own question whether a server is well; no credential is sent, so that asking for one is an answer."""
    parts = urllib.parse.urlsplit(address)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    try:
        with urllib.request.urlopen(f"{plain}/health", timeout=SECONDS):
            pass
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):
            raise


def _connect(address: str) -> None:
    import sqlalchemy

    url = sqlalchemy.make_url(address)
    if url.get_backend_name() == "sqlite":
        # Without this SQLite would make an empty file.
        if url.database and not Path(url.database).exists():
            if Path(url.database).parent.is_dir():
                return
            raise FileNotFoundError(f"there is no folder {Path(url.database).parent}")
        engine = sqlalchemy.create_engine(url)
    else:
        engine = sqlalchemy.create_engine(url, connect_args={"connect_timeout": SECONDS})
    try:
        with engine.connect() as connection:
            if url.get_backend_name() == "sqlite":
                connection.exec_driver_sql("select count(*) from sqlite_master")
    finally:
        engine.dispose()


def servers(named: Iterable[tuple[str, str]], recorded: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """named: (what, address) that the user gives now. recorded: those in studies, asked where he named them before."""
    seen: set[tuple[str, str]] = set()
    for what, address in named:
        seen.add((what, address))
        yield server(what, address)
    for what, address in recorded:
        if (what, address) in seen:
            continue
        seen.add((what, address))
        if is_known(address) or address.startswith("sqlite:"):
            yield server(what, address)
        else:
            found = f"{without_secrets(address)} was not asked: only a study's folder names it"
            yield Finding(what, "hurts", found, "if it is yours, name it: --mlflow or --storage")


def listening() -> Finding:
    """Ray's ports that other machines reach: who may connect there without a token runs code as this user."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.AccessDenied, OSError):
        return Finding("open ports", "ok", "not looked at: this system does not say who listens")
    open_ = {f"{ip}:{port}" for ip, port, pid in _listeners(connections) if not _is_loopback(ip) and _is_of_ray(pid)}
    if open_:
        found = f"Ray listens for other machines on {', '.join(sorted(open_))}"
        remedy = "on a cluster keep it behind a firewall and set RAY_AUTH_MODE=token; else end it: ray stop"
        return Finding("open ports", "hurts", found, remedy)
    return Finding("open ports", "ok", "no Ray listens for other machines")


def _listeners(connections: Iterable[Any]) -> Iterator[tuple[str, int, int]]:
    """Address, port and process of whoever waits to be connected to, as far as that may be known."""
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.pid is not None:
            yield connection.laddr.ip, connection.laddr.port, connection.pid


def _is_loopback(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    inner = getattr(address, "ipv4_mapped", None)
    return (inner or address).is_loopback


def _is_of_ray(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        words = [process.name(), *process.cmdline()[:3]]
    except psutil.Error:
        return False
    return any(word.startswith(RAY) or Path(word).name in RAY or "/ray/" in word for word in words)


def secrets(home: Path) -> Finding:
    """Files with tokens or passwords that others on this machine may read."""
    there = [home / name for name in SECRETS if (home / name).is_file()]
    loose = [str(file) for file in there if file.stat().st_mode & 0o077]
    if loose:
        found = f"others may read {', '.join(loose)}"
        return Finding("token files", "hurts", found, f"chmod 600 {' '.join(loose)}")
    return Finding("token files", "ok", f"{len(there)} here, for their owner's eyes alone" if there else "none here")
