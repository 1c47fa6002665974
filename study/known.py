"""Which servers are this user's own: no credential goes to an address that only a study's folder names.

MLflow and data bases send the user's password or token to whatever address they are given, and a folder that somebody
handed over can name any. So an address is used once this user has named it: as an option, in the environment, or in a
study file that he launched. Its server, never its password, is then a line of a file in his cache folder.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from trainables.files import alone, default_cache_dir, write_atomically
from trainables.trust import read_regular, without_secrets

PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
HOSTS = ("host", "hostaddr", "port", "server", "service", "unix_socket", "odbc_connect")
"""Settings of a data base's address that send its driver elsewhere than to the host in it."""


def remember(address: str) -> None:
    """Keep that this user has named an address himself. Where that cannot be kept, he is asked again next time."""
    server, file = server_of(address), _file()
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with alone(file.with_name(".servers")):
            if server not in (known := _known()):
                write_atomically(file, "".join(f"{line}\n" for line in [*known, server]).encode())


def is_known(address: str) -> bool:
    """Whether this user has named the address's server himself, on this machine."""
    return server_of(address) in _known()


def server_of(address: str) -> str:
    """What of an address says whom it reaches: scheme, host and port, or a file's whole path; no user, no password."""
    parts = urlsplit(address)
    scheme = parts.scheme.split("+")[0].lower()
    is_web = scheme in ("http", "https")
    if "\\" in address or ("@" in parts.path + parts.query + parts.fragment and not is_web):
        return without_secrets(address)  # which part of it is the host is read in more than one way
    if parts.hostname is None:
        return f"{scheme}://{parts.path}"
    try:
        port = parts.port or PORTS.get(scheme, 0)
    except ValueError:  # no number
        port = -1
    elsewhere = [] if is_web else [pair for pair in parse_qsl(parts.query) if pair[0].lower() in HOSTS]
    return f"{scheme}://{parts.hostname}:{port}" + (f"?{urlencode(elsewhere)}" if elsewhere else "")


def _file() -> Path:
    return default_cache_dir() / "servers"


def _known() -> list[str]:
    try:
        return read_regular(_file()).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
