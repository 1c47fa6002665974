"""The machine: processor, memory, disk, GPU, clock."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from study.cluster.session import MEMORY_PER_TRIAL
from study.health.findings import Finding
from trainables.files import default_cache_dir

GROUP = Path("/sys/fs/cgroup/memory.max")
"""How much memory a container may take, where there is such a limit."""
FULL, SHORT = 0.2e9, 2e9
"""Free bytes of a folder below which a smoke study fails, and below which one of the paper's size does."""
SHARED = 0.15e9
"""Free bytes that Ray wants in /dev/shm; with less it keeps its objects on the disk."""
MORE_SHARED = "give the container more, as with: docker run --shm-size=1g"
CLOCK = 5.0
"""Seconds by which a file system's clock may differ from this machine's; a study's lock goes by the former."""
EXPIRED = 60.0
"""From here on two machines would take each other's locks for abandoned."""


def processor() -> Finding:
    cores, load = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, _load()
    found = f"{cores} cores may be used, {load:.1f} are busy"
    if load > 0.75 * cores:
        return Finding("processor", "hurts", found, "end what keeps it busy: trials share the cores with it")
    return Finding("processor", "ok", found)


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def memory() -> Finding:
    virtual = psutil.virtual_memory()
    total, free = virtual.total, virtual.available
    limit = _limit()
    if limit is not None and limit < total:
        total, free = limit, min(free, limit)
    found = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB are free"
    need = MEMORY_PER_TRIAL
    if free < need["small"]:
        return Finding(
            "memory", "broken", found, f"a small trial takes {need['small'] / 1e9:g} GB: close other programs"
        )
    if free < need["paper"]:
        enough = max((size for size in need if need[size] <= free), key=lambda size: need[size])
        remedy = f"networks of size {enough} fit; paper takes {need['paper'] / 1e9:g} GB a trial"
        return Finding("memory", "hurts", found, remedy)
    return Finding("memory", "ok", found)


def _limit() -> int | None:
    try:
        return int(GROUP.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or "max"
        return None


def disks(studies: Path | None) -> Iterator[Finding]:
    """Room and the right to write, in each folder that a study writes to."""
    places = {
        "the current folder": Path.cwd(),
        **({"the studies": studies} if studies is not None else {}),
        "the cache": default_cache_dir(),
        "temporary files": Path(tempfile.gettempdir()),
    }
    for what, place in places.items():
        yield _disk(what, _existing(place))
    shared = Path("/dev/shm")
    if shared.is_dir():
        free = shutil.disk_usage(shared).free
        found = f"{_size(free)} are free in {shared}"
        enough = free >= SHARED
        yield Finding("shared memory", "ok" if enough else "hurts", found, "" if enough else MORE_SHARED)


def _disk(what: str, place: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        remedy = "free some space, or work in another folder"
        return Finding(what, "broken", f"{place} cannot be written: {error.strerror}", remedy)
    free = shutil.disk_usage(place).free
    found = f"{_size(free)} are free in {place}"
    if free < FULL:
        return Finding(what, "broken", found, "free some space: a study would end half-way")
    if free < SHORT:
        return Finding(what, "hurts", found, "enough for small networks; see what a study takes: launch … --dry-run")
    return Finding(what, "ok", found)


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _existing(place: Path) -> Path:
    return next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())


def gpu() -> Finding:
    """PyTorch's view of the GPUs, against the driver's."""
    import torch

    driver = _driver()
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        free = [torch.cuda.mem_get_info(number)[0] / 1e9 for number in range(len(names))]
        cards = ", ".join(f"{name} with {room:.0f} GB free" for name, room in zip(names, free, strict=True))
        found = f"{cards}; driver {driver or 'unknown'}, CUDA {torch.version.cuda}"
        if min(free) < 4:
            return Finding(
                "GPU", "hurts", found, "end what else computes there, or choose another: CUDA_VISIBLE_DEVICES"
            )
        return Finding("GPU", "ok", found)
    if driver is None:
        return Finding("GPU", "ok", "none; trials run on the processor")
    if not torch.version.cuda:
        found = f"a card with driver {driver}, but PyTorch {torch.__version__} was built without CUDA"
        return Finding("GPU", "hurts", found, "install PyTorch's CUDA build, as pytorch.org says for this driver")
    found = f"a card with driver {driver}, which PyTorch {torch.__version__} (CUDA {torch.version.cuda}) cannot use"
    return Finding("GPU", "hurts", found, "update the driver, or look at CUDA_VISIBLE_DEVICES")


def _driver() -> str | None:
    """The version of NVIDIA's driver, or None without one."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(ran.stdout.split()), None)


def clock(studies: Path) -> Finding:
    """This machine's clock against that of the file system with the studies: locks go by the latter."""
    place = _existing(studies)
    before = time.time()
    try:
        with tempfile.NamedTemporaryFile(dir=place) as file:
            file.write(b"now")
            file.flush()
            stamp = Path(file.name).stat().st_mtime
    except OSError as error:
        found = f"not compared: {place} cannot be written ({error.strerror})"
        return Finding("clock", "hurts", found, "make that folder writable first")
    after = time.time()
    apart = max(before - stamp, stamp - after, 0.0)
    found = f"{apart:.0f} s from the clock of the disk in {place}"
    if apart <= CLOCK:
        return Finding("clock", "ok", found)
    remedy = "set the clocks by NTP: a running study could be taken for an abandoned one"
    return Finding("clock", "broken" if apart > EXPIRED else "hurts", found, remedy)
