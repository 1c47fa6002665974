"""The one home for trust: what others hand over is opened here, and no secret leaves in an address.

Files are opened only where they are regular files, and inside the folder that they are said to lie in. Names are mapped
in `trainables/names.py`; whom credentials are sent to is in `study/known.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote

if TYPE_CHECKING:
    from torch import Tensor


def read_regular(path: str | Path, *, inside: Path | None = None) -> bytes:
    """A file's bytes. OSError where there is none, or something else: a pipe would be waited for, a device never ends.

    inside: a folder out of which the path must not lead, be it by a link.
    """
    if inside is not None and not Path(path).resolve().is_relative_to(inside.resolve()):
        raise OSError(errno.ELOOP, f"leads out of {inside}", str(path))
    with open_regular(path) as file:
        return file.read()


def open_regular(path: str | Path) -> BinaryIO:
    """A file to read from. OSError as of `read_regular`."""
    # Opening a pipe waits for its other end, unless told not to.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file


def in_place(path: str, flags: int) -> int:
    """An `opener` for `open` that adds to a file where it stands, and not through a link to somewhere else."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def special_file(folder: Path) -> Path | None:
    """A pipe, socket or device somewhere below a folder, be it behind a link; None where there is none."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            with contextlib.suppress(OSError):  # gone meanwhile, or a link to nothing
                if not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode):
                    return path
    return None


def link_out(folder: Path, written: Iterable[str] = ()) -> Path | None:
    """A link below a folder that leads out of it, and that writing there would follow; None where there is none.

    Those are links to folders, or to nothing, and those of the file names `written`, to which something is added in
    place. Others are replaced by whoever writes; whoever reads them says `inside`.
    """
    whole = folder.resolve()
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if not path.is_symlink() or _resolved(path).is_relative_to(whole):
                continue
            if not path.is_file() or any(fnmatchcase(name, pattern) for pattern in written):
                return path
    return None


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links in a circle lead nowhere
        return Path("/")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. ValueError, naming it, where it cannot be read whole."""
    import safetensors.torch  # torch takes seconds, and whoever reads other files does not need it

    try:
        return safetensors.torch.load(read_regular(path))
    except OSError as error:
        raise ValueError(f"the weights {path} cannot be read: {error.strerror}") from None
    except Exception as error:  # safetensors has an error of its own that is no ValueError
        raise ValueError(f"the weights {path} are damaged ({error}); train or export that model again") from None


_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""The last four are the full-width letters, which some spreadsheets take for the others."""
_USER = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://(?P<user>[^\s'\"<>/?#]*)@")
_SLASHED = re.compile(
    r"(?<![a-zA-Z0-9+.-])(?P<scheme>(?!http)[a-zA-Z][a-zA-Z0-9+.-]*)://(?P<user>[^\s'\"<>/?#:@]*:[^\s'\"<>@]*)@"
)
"""A data base's password may hold a slash, or a question mark, that nobody encoded."""
_BARE = re.compile(r"(?<![\w/:@.%-])(?P<user>[\w.%+-]+):(?!//)(?P<password>[^\s'\"<>@]+)@(?=[\w\[])")
"""An address whose scheme was forgotten, or has a slash too few."""
_FIELD = re.compile(r"(?P<before>(?P<quote>['\"])(?P<key>[\w.-]+)(?P=quote)\s*:\s*)(?P<value>\"[^\"]*\"|'[^']*')")
"""A setting as JSON and Python write it."""
_SETTING = re.compile(r"(?P<key>[\w%.-]+)(?P<equals>\s*=\s*|%3[dD])(?P<value>'[^']*'|\"[^\"]*\"|[^\s&;,'\"<>)]+)")
_HEADER = re.compile(r"\b(?P<kind>basic|bearer)(?P<space> +)[\w+/=.~-]{8,}", re.IGNORECASE)
"""Credentials as a request carries them, which some servers and proxies repeat in their answer."""
_SECRET_KEY = re.compile(
    r"passw|passphrase|pwd|token|secret|credential|signature|(access|account|api|private)[_-]?key|^(pass|pw|sig|auth|jwt)$"
)


def without_secrets(text: str) -> str:
    """`text` as it may be written, logged or shown: the secrets of every address in it are replaced by "…".

    Secrets are what stands for a user's password, a token in a user's place (http), and the values of settings as
    `password=`, `sslpassword=` and `token=`, all of them also where they are percent-encoded. An address without any
    stays as it is.
    """
    for pattern in (_USER, _SLASHED):
        text = pattern.sub(lambda found: f"{found['scheme']}://{_user_shown(found['scheme'], found['user'])}@", text)
    for pattern, shown in ((_BARE, r"\g<user>:…@"), (_FIELD, _field_shown), (_HEADER, _header_shown)):
        text = pattern.sub(shown, text)
    return _SETTING.sub(_setting_shown, text)


def has_secret(address: str) -> bool:
    """Whether an address holds what `without_secrets` would hide."""
    return without_secrets(address) != address


def as_cell(value: Any) -> Any:
    """A CSV table's value as no spreadsheet runs it: a text that one would take for a formula begins with `'`.

    Numbers, written as text too, stay as they are.
    """
    if not isinstance(value, str) or not _FORMULA.match(value) or _is_number(value):
        return value
    return f"'{value}"


def from_cell(text: str) -> str:
    """What `as_cell` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _user_shown(scheme: str, user: str) -> str:
    name, has_password, password = user.replace("%3A", ":").replace("%3a", ":").partition(":")
    if has_password:
        return f"{name}:…" if password else user
    return "…" if user and scheme.startswith("http") else user


def _field_shown(found: re.Match[str]) -> str:
    is_secret = _SECRET_KEY.search(found["key"].lower())
    return f"{found['before']}{found['value'][0]}…{found['value'][0]}" if is_secret else found[0]


def _header_shown(found: re.Match[str]) -> str:
    value = found[0].rpartition(" ")[2]
    is_word = value.isalpha() and value.islower()  # as in "basic settings"
    return found[0] if is_word else f"{found['kind']}{found['space']}…"


def _setting_shown(found: re.Match[str]) -> str:
    key, value = unquote(found["key"]).lower().rpartition("=")[2], found["value"]
    if _SECRET_KEY.search(key):
        return f"{found['key']}{found['equals']}…"
    # A setting within a setting, as options=password%3Dx.
    inner = unquote(value)
    return f"{found['key']}{found['equals']}{'…' if inner != value and has_secret(inner) else value}"
