"""The wheel, in an environment that has the locked packages and not this repository, runs a study elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
RUN = (
    "from importlib.metadata import entry_points\n"
    "(program,) = entry_points(group='console_scripts', name='nt-study')\n"
    "program.load()()"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the files under version control alone."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(ROOT / name, source / name) if _is_same_disk(source) else (source / name).write_bytes(
                (ROOT / name).read_bytes()
            )
    built = subprocess.run([sys.executable, "-c", BUILD, out], cwd=source, capture_output=True, text=True, check=True)
    return out / built.stdout.split()[-1]


def _is_same_disk(folder: Path) -> bool:
    return folder.stat().st_dev == ROOT.stat().st_dev


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an empty environment in which the wheel lies; the locked packages are where they are."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # A .pth names a folder and does not run the .pth files in it, so an editable install there is not seen.
    (packages / "locked.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return folder / "bin" / "python"


def run(program: Path, folder: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ran = subprocess.run(
        [program, "-c", RUN, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_wheel_has_every_file_that_the_packages_read(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    rooms = ("nt_study", "study", "trainables", "search_spaces", "analysis")
    listed = subprocess.run(["git", "ls-files", *rooms], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    left_out = {name for name in listed.splitlines() if not name.endswith(".md")} - names
    assert not left_out
    assert "nt_study/py.typed" in names and not any(name.startswith(("tests/", "benchmarks/")) for name in names)


def test_it_says_its_version_and_finds_itself(program: Path, tmp_path: Path) -> None:
    assert run(program, tmp_path, "--version").startswith("nt-study ")
    where = [str(program), "-c", "import nt_study.rooms as r; r.check_rooms(); print(r.HOME)"]
    home = subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(home).is_relative_to(program.parents[1].resolve()) and not Path(home).is_relative_to(ROOT)


@pytest.mark.slow
def test_a_study_away_from_the_repository(program: Path, tmp_path: Path) -> None:
    assert "3 complete" in run(program, tmp_path, "launch", "hyperiqa", "--preset", "smoke", "--name", "smoke")
    assert (tmp_path / "studies" / "smoke" / "front" / "pareto.html").stat().st_size > 10_000, "its template was packed"
    run(program, tmp_path, "export", "smoke", "--out", "knee")
