"""Ctrl-C also while a command still imports: exit code 130, and no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPTED = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # what begins in the background ignores it
_, studies, module = sys.argv

class CtrlC:
    def find_spec(self, name, *_):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

from nt_study.__main__ import main
sys.meta_path.insert(0, CtrlC())
sys.argv = ["nt-study", "list", "--studies", studies]
main()
"""


@pytest.mark.parametrize(
    "module", ["study.cli", "typer", "study.commands.launch", "study.storage.mirror", "pydantic", "pandas"]
)
def test_ctrl_c_during_an_import(tmp_path: Path, module: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path), module], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


AT_WORK = """
import os, signal, sys, time
import study.storage.directory as directory

def find_all(studies):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    finally:
        print("tidied up")

directory.find_all = find_all
from study.cli import main
sys.argv = ["nt-study", "list", "--studies", sys.argv[1]]
main()
"""


def test_ctrl_c_at_work_lets_it_tidy_up(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", AT_WORK, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (130, "tidied up", "")


AFTER_ALL = """
import os, signal, sys

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

sys.modules["__main__"].last = Last()
from study.cli import main
sys.argv = ["nt-study", "list", "--studies", sys.argv[1]]
main()
"""


def test_ctrl_c_when_all_is_done_and_python_itself_ends(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", AFTER_ALL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, "and not -2, as where the signal itself ends a process"
