"""`nt-study report` as a user calls it, on studies as their folders are."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run_here
from written_study import write_study

from study.commands.report import report
from study.storage.records import keep_records


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_records_make_the_same_report_again(tmp_path: Path) -> None:
    write_study(tmp_path / "studies", "kept")
    report(["kept"], tmp_path / "out", tmp_path / "records", tmp_path / "studies")
    report(["kept"], tmp_path / "again", None, tmp_path / "records")
    found = files_in(tmp_path / "out")
    assert {"report.html", "findings.md", "tables.md", "tables/table_2.csv", "figures/kept_front.png"} <= set(found)
    assert found == files_in(tmp_path / "again")


def test_records_hold_no_weights_and_nothing_of_a_machine(tmp_path: Path) -> None:
    directory = write_study(tmp_path, "whole")
    (directory.trial("t000") / "model.safetensors").write_bytes(b"large")
    (directory.trial("t000") / "trial.log").write_text("long")
    kept = keep_records(directory, tmp_path / "records")
    assert {path.name for path in kept.path.rglob("*") if path.is_file()} == {
        "study.yaml",
        "launched.yaml",
        "environment.json",
        "config.json",
        "epochs.jsonl",
        "result.json",
        "scores.parquet",
    }


def test_bad_input_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    studies, out = tmp_path / "studies", tmp_path / "out"
    write_study(studies, "fine")
    write_study(studies, "early", baseline="", ends=("",))
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    for name, target, sentence in (
        ("early", out, "has no front yet"),
        ("earl", out, "no study named 'earl'"),
        ("fine", in_the_way, "choose another --out"),
    ):
        code, _, said = run_here(monkeypatch, capsys, "report", name, "--studies", studies, "--out", target)
        assert code != 0 and sentence in said and "Traceback" not in said
    assert not out.exists()
