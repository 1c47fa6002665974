"""Studies in a bucket: a working copy on this machine, and what goes between the two.

The rest of the code sees a folder. At its root the file `.mirror` names the bucket's place, so whoever has a path of it
finds the bucket. The bucket is the truth. What its owner writes goes up file by file in the order in which it was
written, each whole, so a kill leaves there what it could have left in a folder.

The driver and `nt-study`'s other commands share one working copy on a machine, the trials on a node have another; they
meet in the bucket alone. A trial's files are written by its actor, but for `result.json`; all others by the driver.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from study.errors import StudyError
from trainables.files import alone, default_cache_dir, write_atomically
from trainables.trust import has_secret, without_secrets

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
"""Stores of `pyarrow.fs` in which an object appears whole or not at all."""
MARK = ".mirror"
HERE_ALONE = ("lock", "stop", "mlflow.behind")
"""Files of a working copy that say what happens on this machine; so do those whose names begin with a dot."""
AT_A_TIME = 8
"""Downloads; a study is many small files, and what takes time is waiting for each."""

Stamp = tuple[int, int]
"""Size in bytes and time of change in whole seconds. A working copy's file has its object's time while they agree."""


def studies_folder(place: str | Path, copy: str = "studies") -> Path:
    """The folder that `--studies` stands for: itself, or the working copy of a bucket's place.

    `copy` names one of several working copies on this machine. StudyError for an address that is neither.
    """
    scheme, is_address, _ = str(place).partition("://")
    if not is_address:
        return Path(place)
    if scheme == "file":
        return Path(unquote(urlsplit(str(place)).path))
    if scheme not in SCHEMES or not urlsplit(str(place)).netloc:
        raise StudyError(
            f"--studies {without_secrets(str(place))} is neither a folder nor a bucket's address, as in s3://bucket/studies"
        )
    uri = str(place).rstrip("/")
    if has_secret(uri):
        raise StudyError(
            f"--studies {without_secrets(uri)} holds a secret, which would be shown and kept in files; leave it out "
            "and set the store's own variables, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    root = default_cache_dir() / copy / hashlib.sha256(uri.encode()).hexdigest()[:16]
    if not (root / MARK).exists():
        try:
            root.mkdir(parents=True, exist_ok=True)
            write_atomically(root / MARK, uri.encode())
        except OSError as error:
            raise StudyError(f"cannot keep a copy of {uri} in {root}: {error.strerror}; set XDG_CACHE_HOME") from None
    return root


def mirror_of(path: Path) -> Mirror | None:
    """The bucket that a path lies in the working copy of, or None for a plain folder."""
    for folder in (path, *path.parents):
        # Only where we keep working copies: a folder of somebody else's could name his bucket.
        if (folder / MARK).is_file() and folder.resolve().is_relative_to(default_cache_dir().resolve()):
            return Mirror((folder / MARK).read_text(encoding="utf-8"), folder)
    return None


def place_of(path: Path) -> str:
    """A path as its user knows it: the bucket's address for one in a working copy."""
    mirror = mirror_of(path)
    return str(path) if mirror is None else mirror.address(path)


@dataclass(frozen=True)
class Mirror:
    """A bucket's place and its working copy `root`. Every path is one in the working copy.

    Whatever the store refuses is a StudyError of one sentence.
    """

    uri: str
    root: Path

    def address(self, path: Path) -> str:
        """The address of the path's counterpart."""
        return "/".join([self.uri.partition("?")[0], *path.relative_to(self.root).parts])

    def check(self) -> None:
        """StudyError when the bucket cannot be reached, read, or is not there."""
        from pyarrow.fs import FileType

        with self._explained("read"):
            store, base = self._store
            bucket = base.partition("/")[0]
            if store.get_file_info(bucket).type == FileType.NotFound:
                raise OSError("NO_SUCH_BUCKET")

    def folders(self, path: Path) -> list[Path]:
        """The folders right below, whether they are in the working copy or not yet."""
        from pyarrow.fs import FileType

        return sorted(path / info.base_name for info in self._listed(path, False) if info.type == FileType.Directory)

    def files(self, path: Path, *, deep: bool = True) -> dict[Path, Stamp]:
        """The bucket's files below a folder, or only those right in it."""
        store_root = self._store[1]
        found = [info for info in self._listed(path, deep) if info.is_file]
        return {self.root / info.path.removeprefix(store_root).lstrip("/"): _stamp_of(info) for info in found}

    def read(self, path: Path) -> bytes:
        """What the bucket has there. FileNotFoundError when it has nothing."""
        with self._explained("read"), self._store[0].open_input_stream(self._key(path)) as stream:
            return bytes(stream.read())

    def pull(
        self, path: Path, wanted: Callable[[Path], bool] = lambda path: True, *, deep: bool = True, exact: bool = True
    ) -> None:
        """Make the working copy's folder as the bucket's, as far as files are `wanted`.

        `exact` says whether what the bucket does not have is removed.
        """
        there = {file: stamp for file, stamp in self.files(path, deep=deep).items() if wanted(file)}
        if exact:
            for extra in filter(wanted, _files_below(path, deep) - there.keys()):
                extra.unlink(missing_ok=True)
        changed = [file for file, stamp in there.items() if stamp != _stamp_here(file)]
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            list(pool.map(lambda file: self._download(file, there[file]), changed))

    def fetch(self, file: Path) -> None:
        """Bring one file up to date; where the bucket has none, there is none here either."""
        stamp = self._stamps([file])[0]
        if stamp is None:
            file.unlink(missing_ok=True)
        elif stamp != _stamp_here(file):
            self._download(file, stamp)

    def push(self, path: Path, *, deep: bool = True) -> None:
        """Send up what has changed in a folder, in the order in which it was written. Nothing is deleted there."""
        there = self.files(path, deep=deep)
        changed = [file for file in _files_below(path, deep) if _stamp_here(file) != there.get(file)]
        self.upload(sorted(changed, key=lambda file: file.stat().st_mtime_ns))

    def upload(self, files: Iterable[Path]) -> None:
        """Send files up, one after another."""
        for file in files:
            with file.open("rb") as opened:
                self.write(file, opened.read())
                stamp = self._stamps([file])[0]
                if stamp is not None:
                    # By its handle: a file that has been replaced meanwhile keeps its own time, and goes up next.
                    os.utime(opened.fileno(), (stamp[1], stamp[1]))

    def write(self, path: Path, content: bytes) -> None:
        """Put content into the bucket alone."""
        # In one call: what is closed half-written would appear as a whole object.
        with self._explained("written"), self._store[0].open_output_stream(self._key(path)) as stream:
            stream.write(content)

    def delete(self, path: Path) -> None:
        """Remove a file here and there, if it is."""
        path.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError), self._explained("written"):
            self._store[0].delete_file(self._key(path))

    def seconds_now(self, path: Path) -> float:
        """The store's own time, as the bucket's file just written there tells it."""
        stamp = self._stamps([path])[0]
        if stamp is None:
            raise StudyError(f"{self.address(path)} was there and is not any more; try again")
        return stamp[1]

    @contextlib.contextmanager
    def alone(self, *, wait: bool = True) -> Iterator[None]:
        """One process and thread at a time brings this working copy up to date; BlockingIOError instead of a wait."""
        with alone(self.root / ".pulling", wait=wait):
            yield

    @cached_property
    def _store(self) -> tuple[FileSystem, str]:
        from pyarrow.fs import FileSystem

        # Small files then cost one request instead of three.
        delayed = "allow_delayed_open=true" if self.uri.startswith("s3:") else ""
        address, _, options = self.uri.partition("?")
        query = "&".join(filter(None, (options, delayed)))
        with self._explained("used"):
            store, base = FileSystem.from_uri(f"{address}?{query}" if query else address)
        return store, base.rstrip("/")

    def _key(self, path: Path) -> str:
        return "/".join([self._store[1], *path.relative_to(self.root).parts])

    def _listed(self, path: Path, deep: bool) -> list:
        from pyarrow.fs import FileSelector

        with self._explained("read"):
            return self._store[0].get_file_info(FileSelector(self._key(path), allow_not_found=True, recursive=deep))

    def _stamps(self, files: list[Path]) -> list[Stamp | None]:
        with self._explained("read"):
            found = self._store[0].get_file_info([self._key(file) for file in files])
        return [_stamp_of(info) if info.is_file else None for info in found]

    def _download(self, file: Path, stamp: Stamp) -> None:
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            content = self.read(file)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, content)
            os.utime(file, (stamp[1], stamp[1]))

    @contextlib.contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise StudyError(f"{self.uri} cannot be {done}: {explain(error)}") from None


def explain(error: Exception) -> str:
    """What a store's error means, and what to do."""
    text = " ".join(str(error).split())
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    for signs, meaning in SIGNS.items():
        if any(sign in text for sign in signs):
            return meaning.format(endpoint=f"the endpoint {endpoint}" if endpoint else "the store")
    return text[:300]


SIGNS = {
    ("NO_SUCH_BUCKET", "NoSuchBucket"): "there is no such bucket; make it or choose another --studies",
    (
        "ACCESS_DENIED",
        "INVALID_ACCESS_KEY_ID",
        "SIGNATURE_DOES_NOT_MATCH",
        "EXPIRED_TOKEN",
        "INVALID_CLIENT_TOKEN_ID",
    ): (
        "these credentials may not, or there are none; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this "
        "machine a role that may use the bucket"
    ),
    ("curlCode: 6,", "Could not resolve host"): "{endpoint} is no host that is known here; is AWS_ENDPOINT_URL right?",
    ("curlCode: 7,",): "nothing listens at {endpoint}; is AWS_ENDPOINT_URL right?",
    ("curlCode: 28,",): "{endpoint} does not answer in time",
    ("curlCode: 35,", "curlCode: 60,"): "{endpoint} has no encryption that is trusted here; http or https?",
}
"""Parts of a store's errors -> what they mean."""


def _stamp_of(info: object) -> Stamp:
    return info.size, info.mtime_ns // 1_000_000_000  # type: ignore[attr-defined]


def _stamp_here(file: Path) -> tuple[int, float] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns / 1e9


def _files_below(path: Path, deep: bool) -> set[Path]:
    found = path.rglob("*") if deep else path.glob("*")
    return {file for file in found if file.is_file() and not file.name.startswith(".") and file.name not in HERE_ALONE}
