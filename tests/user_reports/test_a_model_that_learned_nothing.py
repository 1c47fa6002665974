"""Own photographs whose models had learned nothing ended as "knee, most accurate … take the best compromise home"."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run_here
from rich.console import Console
from written_study import write_study

from analysis.findings import HOW
from analysis.front import doubt_of
from study.commands.front import show_end
from study.export.model_card import model_card
from study.looking.front_files import front_of
from study.storage.directory import StudyDirectory
from study.tracking.registry import aliases_of
from study.tracking.study_report import describe
from trainables.record import SCORES, read_scores, write_scores


@pytest.fixture
def study(tmp_path: Path) -> StudyDirectory:
    """A study of which no trial orders the images better than chance."""
    directory = write_study(tmp_path, "own")
    for number, folder in enumerate(sorted(directory.trials.iterdir())):
        scores = read_scores(folder / SCORES)
        order = {
            image: value
            for value, image in enumerate(np.random.default_rng(3 + number).permutation(scores["image"].unique()))
        }
        write_scores(folder / SCORES, scores.assign(clean_score=scores["image"].map(order).astype(float)), {})
    return directory


def test_it_is_said_wherever_a_knee_would_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], study: StudyDirectory, tmp_path: Path
) -> None:
    front = front_of(study)
    assert front.doubt.startswith("not better than chance") and "more images, more epochs, or weights" in front.doubt

    console = Console(file=io.StringIO(), width=200)
    show_end(study, console)
    end = console.file.getvalue()  # type: ignore[attr-defined]
    _, shown, _ = run_here(monkeypatch, capsys, "front", "own", "--studies", tmp_path)
    _, status, _ = run_here(monkeypatch, capsys, "status", "own", "--studies", tmp_path)
    run_here(monkeypatch, capsys, "report", "own", "--studies", tmp_path, "--out", tmp_path / "rep")
    page, account = ((tmp_path / "rep" / name).read_text(encoding="utf-8") for name in ("report.html", "findings.md"))
    view = {"height": 8, "width": 8, "crops": 1, "views": "grid", "mode": "crop"}
    data = {"spec": "photos", "score_kind": "made up", "images": {"train": 1}, "fingerprint": "0" * 64}
    config = {"model": "hyperiqa", "size": "small", "input": view, "data": data}
    texts = {
        "end": end,
        "front": shown,
        "status": status,
        "findings": account,
        "note": describe(front, "1", "2", "take it"),
    }
    texts["card"] = model_card(config, front, front.knee, {})
    for place, text in texts.items():
        assert "ot better than chance" in text, place
        for claim in ("most accurate", "most robust", "knee", "best compromise"):
            assert claim not in text.replace(HOW, ""), (place, claim)
    assert "not better than chance" in page
    assert aliases_of(front, front.knee) == ()
    _, said, _ = run_here(monkeypatch, capsys, "front", "own", "--json", "--studies", tmp_path)
    assert json.loads(said)["knee"] is None and json.loads(said)["doubt"] == front.doubt


def test_a_model_that_learned_is_not_doubted(tmp_path: Path) -> None:
    directory = write_study(tmp_path, "own")
    assert doubt_of(read_scores(directory.trial("baseline") / SCORES)) == ""
    assert front_of(directory).doubt == ""
