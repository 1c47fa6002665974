"""From a release's labels and files to an `ImageSet`, each file read, checked and decoded once per node."""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from PIL import Image

from trainables.data.cache import build_once
from trainables.data.decode import at_a_time, decode_image, size_after
from trainables.data.encoded import FILES, EncodedStore, write_encoded
from trainables.data.image_set import ImageSet
from trainables.data.labels import Labels
from trainables.data.store import MappedStore, Pixels, write_store
from trainables.trust import read_regular

TABLE = "table.parquet"
REPORT = "report.json"


def open_labelled(
    read_labels: Callable[[Path], Labels],
    location: Path,
    cache_dir: Path,
    *,
    skip_unreadable: bool = False,
    max_decoded_bytes: int | None = None,
) -> ImageSet:
    """The set at `location` (a folder, or a manifest), read by `read_labels`.

    The decoded pixels are kept under `cache_dir` for every process of the node. Where they would take more than
    `max_decoded_bytes` (default: half of the node's memory, and of the room on that disk), files are decoded on each
    read instead. Raises ValueError that names the first file that is missing, unreadable or without a score; with
    `skip_unreadable` such files are left out and listed in the set's `left_out`.
    """
    labels = read_labels(location)
    stats, left_out = _stat_files(labels)
    left_out |= dict.fromkeys(labels.without_score(), "it has no score in the label file")
    if left_out and not skip_unreadable:
        name, reason = next(iter(left_out.items()))
        others = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        raise ValueError(f"{labels.root}: {name}{others}: {reason}; restore it or use --skip-unreadable")

    def write(folder: Path) -> None:
        rows = labels.table[~labels.table["image"].isin(list(left_out))]
        reader = _Reader(labels, rows, skip_unreadable=skip_unreadable)
        if _decoded_bytes(labels, rows) <= _budget(folder, max_decoded_bytes):
            write_store(folder, reader)
        else:
            for _ in reader:  # checks and hashes every file
                pass
            write_encoded(folder, labels.root, list(reader.kept["path"]), labels.resize, reader.sizes)
        reader.kept.drop(columns="path").to_parquet(folder / TABLE, index=False)
        report = {"conversions": dict(reader.conversions), "left_out": left_out | reader.left_out}
        (folder / REPORT).write_text(json.dumps(report, indent=1))

    key = _key(labels, stats, left_out, skip_unreadable, max_decoded_bytes)
    folder = build_once(cache_dir / f"{labels.name}-{key}", write)
    report = json.loads((folder / REPORT).read_text())
    return ImageSet(
        name=labels.name,
        spec=f"{labels.name}:{location}",
        table=pd.read_parquet(folder / TABLE),
        store=EncodedStore(folder) if (folder / FILES).exists() else MappedStore(folder),
        score_kind=labels.score_kind,
        conversions=report["conversions"],
        left_out=report["left_out"],
    )


class _Reader:
    """Iterates over the decoded images of `rows` in their order, and keeps what it learns about the files."""

    def __init__(self, labels: Labels, rows: pd.DataFrame, *, skip_unreadable: bool) -> None:
        self.labels = labels
        self.rows = rows
        self.skip_unreadable = skip_unreadable
        self.left_out: dict[str, str] = {}
        self.conversions: Counter[str] = Counter()
        self.sizes: list[tuple[int, int]] = []
        self._sha256: dict[str, str] = {}

    @property
    def kept(self) -> pd.DataFrame:
        """The rows whose files were decoded, with their `sha256`."""
        return self.rows.assign(sha256=self.rows["image"].map(self._sha256)).dropna(subset="sha256")

    def __iter__(self) -> Iterator[Pixels]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow's decoders let other threads run
            for part in at_a_time(self._pixels(path) for path in self.rows["path"]):
                chunk = self.rows.iloc[part]
                for image, result in zip(chunk["image"], pool.map(self._decode, chunk["path"]), strict=True):
                    if isinstance(result, ValueError):
                        self._leave_out(image, result)
                        continue
                    pixels, conversion, self._sha256[image] = result
                    self.sizes.append((pixels.shape[0], pixels.shape[1]))
                    if conversion:
                        self.conversions[conversion] += 1
                    yield pixels
        if not self._sha256:
            raise ValueError(f"{self.labels.root} has no readable image that {self.labels.source} names")

    def _pixels(self, path: str) -> int:
        """How many pixels decoding will hold, from the file's header alone."""
        size = _size(self.labels.root / path)
        return 0 if size is None else size[0] * size[1]

    def _decode(self, path: str) -> tuple[Pixels, str | None, str] | ValueError:
        file = self.labels.root / path
        try:
            data = read_regular(file)
            return *decode_image(data, str(file), self.labels.resize), hashlib.sha256(data).hexdigest()
        except OSError as error:
            return ValueError(f"{file} cannot be read: {error.strerror or error}")
        except ValueError as error:
            return error

    def _leave_out(self, image: str, error: ValueError) -> None:
        if not self.skip_unreadable:
            raise ValueError(f"{error}; replace the file or use --skip-unreadable") from error
        self.left_out[image] = str(error)


def _stat_files(labels: Labels) -> tuple[list[tuple[str, int, int]], dict[str, str]]:
    """Path, size and time of change of the files that are there, and the images whose file is not."""
    stats: list[tuple[str, int, int]] = []
    missing: dict[str, str] = {}
    for image, path in zip(labels.table["image"], labels.table["path"], strict=True):
        try:
            found = (labels.root / path).stat()
            stats.append((path, found.st_size, found.st_mtime_ns))
        except OSError as error:
            missing[image] = f"it has a score and no file {path} ({error.strerror})"
    return stats, missing


def _key(labels: Labels, *facts: object) -> str:
    """Changes with anything that decides what is kept: labels, files, options, decoder."""
    digest = hashlib.sha256(repr((str(labels.root), labels.resize, version("pillow"), *facts)).encode())
    digest.update(labels.table.to_csv(index=False).encode())
    return digest.hexdigest()[:16]


def _decoded_bytes(labels: Labels, rows: pd.DataFrame) -> int:
    """What the decoded images will take, from the files' headers alone; files without a readable one count nothing."""
    sizes = [size_after(labels.resize, *size) for path in rows["path"] if (size := _size(labels.root / path))]
    return sum(height * width * 3 for height, width in sizes)


def _size(file: Path) -> tuple[int, int] | None:
    """Height and width as the file's header has them; None where none can be read."""
    try:
        with Image.open(file) as image:
            return image.height, image.width
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def _budget(folder: Path, max_decoded_bytes: int | None) -> int:
    if max_decoded_bytes is not None:
        return max_decoded_bytes
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(memory, shutil.disk_usage(folder).free) // 2
