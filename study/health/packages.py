"""What is installed: versions, compiled code, and what has been downloaded or made before."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement

from study.health.findings import Finding, State
from trainables.files import default_cache_dir

LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"
"""In a checkout; an installed package has none and goes by its own requirements."""
LARGE = ("torch", "ray", "mlflow", "pandas")
"""Packages whose import takes seconds where they are not compiled."""


def python() -> Finding:
    """Which Python this is; a too old one has not come this far."""
    return Finding("Python", "ok", f"{platform.python_version()} at {sys.executable}")


def versions(lock: Path = LOCK) -> Iterator[Finding]:
    """Installed packages against what this one needs, and against the lock that it was tested with."""
    missing, others, count = _differences(_needed())
    wrong = [*(f"{name} is missing" for name in missing), *others]
    fine = f"all {count} that are needed are here"
    yield _said("packages", "broken", wrong, fine, f"install them: {_installer()} install --upgrade nt-study")
    if lock.exists():  # it has tools of developers as well, so that some may be missing
        _, others, count = _differences(_requirements(lock.read_text(encoding="utf-8").splitlines()))
        remedy = f"install the tested versions: {_installer()} install -r {lock}"
        yield _said("lock", "hurts", others, f"versions are those of the lock ({count} packages)", remedy)


def _installer() -> str:
    return f"{Path(sys.executable).name} -m pip"


def _needed() -> list[Requirement]:
    return _requirements(importlib.metadata.requires("nt-study") or [])


def _requirements(lines: list[str]) -> list[Requirement]:
    """Those that count here: of this platform and Python, and of no extra."""
    found = []
    for line in lines:
        try:
            requirement = Requirement(line.partition(" #")[0].strip())
        except InvalidRequirement:  # a comment, an option of pip
            continue
        if requirement.marker is None or _counts(requirement.marker):
            found.append(requirement)
    return found


def _counts(marker: Marker) -> bool:
    return marker.evaluate({"extra": ""})


def _differences(requirements: list[Requirement]) -> tuple[list[str], list[str], int]:
    """The packages that are missing, those of another version in words, and how many there should be."""
    missing, others = [], []
    for requirement in requirements:
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            others.append(f"{requirement.name} is {version}, not {requirement.specifier}")
    return missing, others, len(requirements)


def _said(what: str, state: State, wrong: list[str], fine: str, remedy: str) -> Finding:
    if not wrong:
        return Finding(what, "ok", fine)
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    return Finding(what, state, ", ".join(wrong[:5]) + more, remedy)


def compiled() -> Finding:
    """Whether each process has to compile the packages again: that takes half of a study's start."""
    slow = [name for name in LARGE if not _is_compiled(name)]
    if slow:
        forbidden = " (PYTHONDONTWRITEBYTECODE is set)" if os.environ.get("PYTHONDONTWRITEBYTECODE") else ""
        found = f"{', '.join(slow)} not compiled{forbidden}: every process spends seconds on it"
        folder = Path(str(importlib.util.find_spec(slow[0]).origin)).parents[1]  # type: ignore[union-attr]
        return Finding("compiled code", "hurts", found, f"once: {Path(sys.executable).name} -m compileall -q {folder}")
    return Finding("compiled code", "ok", "packages are compiled")


def _is_compiled(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is None or spec.cached is None or Path(spec.cached).exists()


def caches() -> Iterator[Finding]:
    """What was downloaded or made before, and lies where a study looks for it."""
    import torch.hub  # torch takes seconds, and whoever asks for less does not need it

    cache = default_cache_dir()
    made = [folder for folder in (sorted(cache.iterdir()) if cache.is_dir() else []) if folder.is_dir()]
    held = f"{len(made)} data sets and adversaries, {sum(map(_bytes, made)) / 1e6:.0f} MB"
    yield Finding("data cache", "ok", f"{cache}: {held if made else 'empty; the first study fills it'}")
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    weights = sorted(file.name for file in hub.glob("*.pth")) if hub.is_dir() else []
    said = ", ".join(weights) or "none; only networks of size mobile and paper start from them"
    yield Finding("ImageNet weights", "ok", f"{hub}: {said}")


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
