"""What a study was launched with, and whether the same would still run it: study file, images, code, packages."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from search_spaces.schema import StudyFile
from study.errors import StudyError
from study.storage.directory import StudyDirectory
from trainables.trust import read_regular

if TYPE_CHECKING:
    from trainables.data.image_set import ImageSet
    from trainables.data.split import MosScale

PACKAGES = ("nt-study", "torch", "torchvision", "ray", "optuna", "mlflow", "numpy", "scipy", "pandas", "pyarrow")
ROOMS = ("analysis", "search_spaces", "study", "trainables")
CODE = "NT_STUDY_CODE"
"""Environment variable that names the commit where a working tree has been sent to."""
COUNT_NOTHING = (
    "trials",
    "max_concurrent",
    "max_failures",
    "trial_timeout",
    "give_up_after",
    "resources_per_trial",
    "full_suite",
    "mixtures",
)
"""Keys of a study file that may change between runs: they decide how much is run and where, not what comes out."""


def environment_of(study_file: StudyFile, images: ImageSet, scale: MosScale, counts: dict[str, int]) -> dict[str, Any]:
    """The content of `environment.json`; `counts` are the images of each split."""
    return {
        "launched": datetime.now().astimezone().isoformat(timespec="seconds"),
        "data": {
            "spec": images.spec,
            "fingerprint": images.fingerprint,
            "score_kind": images.score_kind,
            "mos_minimum": scale.minimum,
            "mos_maximum": scale.maximum,
            "left_out": images.left_out,
            "conversions": images.conversions,
            "images": counts,
        },
        "weights": weights_of(study_file),
        **software(),
        "hardware": {
            "host": socket.gethostname(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        },
    }


def weights_of(study_file: StudyFile) -> dict[str, str] | None:
    """Path and digest of the published checkpoint that trials start from, if any. StudyError when it is not there."""
    path = study_file.recipe.weights
    if path is None:
        return None
    try:
        return {"path": path, "sha256": hashlib.sha256(read_regular(path)).hexdigest()}
    except OSError as error:
        raise StudyError(f"cannot read the weights at {path}: {error.strerror}; give the path of the file") from None


def software() -> dict[str, Any]:
    """Versions of Python and of the packages that decide the numbers, and of this code."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "code": code_version(),
        "sources": _sources_digest(),
    }


def code_version() -> str:
    """This checkout's commit, `+changes` when it has uncommitted ones; where there is none, what `CODE` or pip says."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return os.environ.get(CODE) or importlib.metadata.version("nt-study")

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")


def _sources_digest() -> str:
    """What this code is, wherever it runs: a cluster's nodes have its files and no commit."""
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for room in ROOMS:
        for file in sorted((root / room).rglob("*")):
            if file.suffix in (".py", ".yaml"):
                digest.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def check_unchanged(directory: StudyDirectory, *, force: bool = False) -> None:
    """StudyError that names what would now run the study differently; with `force` it is noted in the folder instead.

    Changed images or scores are never accepted: ValueError.
    """
    _check_places(directory.read_study_file())
    _check_images(directory)
    found = differences(directory)
    if not found:
        return
    if not force:
        raise StudyError(
            f"study {directory.name!r} was begun otherwise: {'; '.join(found)}; "
            "put that back, or go on all the same with: "
            f"{directory.command('resume', '--force')}"
        )
    environment = directory.read_json("environment.json")
    forced = {"time": time.time(), "differences": found, **software()}
    directory.write_json("environment.json", {**environment, "forced": [*environment.get("forced", []), forced]})


def differences(directory: StudyDirectory) -> list[str]:
    """What differs from the launch, or from the last resume that accepted its differences, in words."""
    environment = directory.read_json("environment.json")
    before = environment.get("forced", [environment])[-1]
    now = software()
    found = []
    # Studies of before there was a digest of the sources are told by the commit.
    key = "sources" if "sources" in before else "code"
    if before[key] != now[key]:
        found.append(f"the code was {_named(before)} and is {_named(now)}")
    for name, version in now["versions"].items():
        if before["versions"].get(name, version) != version:
            found.append(f"{name} was {before['versions'][name]} and is {version}")
    accepted = {text for forced in environment.get("forced", []) for text in forced["differences"]}
    others = _study_file_differences(directory) + _weights_differences(directory, environment)
    return found + [text for text in others if text not in accepted]


def _study_file_differences(directory: StudyDirectory) -> list[str]:
    launched, now = directory.read_launched_file().model_dump(), directory.read_study_file().model_dump()
    free = {*COUNT_NOTHING, *(["suite"] if grown(launched["suite"], now["suite"]) else [])}
    return [
        f"{key} in study.yaml was {_brief(launched[key])} and is {_brief(now[key])}"
        for key in launched
        if key not in free and launched[key] != now[key]
    ]


def grown(suite: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether a suite has only gained attacks: finished trials are then attacked with these, too."""
    return all(now.get(label) == attack for label, attack in suite.items())


def _weights_differences(directory: StudyDirectory, environment: dict[str, Any]) -> list[str]:
    before, now = environment.get("weights"), weights_of(directory.read_study_file())
    return [f"the weights were {_brief(before)} and are {_brief(now)}"] if before != now else []


def _check_places(study_file: StudyFile) -> None:
    """StudyError for a path that the study was not launched with, where it does not say which folder it begins in."""
    if study_file != study_file.with_whole_paths():
        raise StudyError("a path in the study's study.yaml is relative; write whole paths there, as the launch did")


def _check_images(directory: StudyDirectory) -> None:
    from trainables.data import open_dataset
    from trainables.data.split import verify_split

    study_file = directory.read_study_file()
    found = open_dataset(study_file.data, skip_unreadable=study_file.skip_unreadable).table
    recorded = directory.read_split()
    verify_split(recorded.assign(mos=recorded["raw_mos"]), found, spec=study_file.data)


def _named(software: dict[str, Any]) -> str:
    commit, plus, changes = software["code"].partition("+")
    sources = f" ({software['sources'][:6]})" if "sources" in software else ""
    return f"{commit[:10]}{plus}{changes}{sources}"


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
