"""What users did, one file per report; here the things that several of them had at hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import safetensors.torch
import torch
from command_line import run_here
from written_study import write_study

from study.export.writing import export
from study.storage.directory import StudyDirectory
from trainables.models import create_model
from trainables.record import WEIGHTS

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, in this process: exit code, output, errors."""
    return partial(run_here, monkeypatch, capsys)


@pytest.fixture(scope="session")
def weighted_study(tmp_path_factory: pytest.TempPathFactory) -> StudyDirectory:
    """A study with made-up score tables and weights that were drawn, not trained; tests leave it as it is."""
    directory = write_study(tmp_path_factory.mktemp("studies"))
    for number, trial in enumerate(sorted(directory.trials.iterdir())):
        torch.manual_seed(number)
        safetensors.torch.save_file(create_model("hyperiqa", size="small").state_dict(), trial / WEIGHTS)
    return directory


@pytest.fixture(scope="session")
def knee(weighted_study: StudyDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of that study's knee."""
    (folder,) = export(weighted_study, "knee", tmp_path_factory.mktemp("exports") / "knee")
    return folder
