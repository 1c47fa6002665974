"""`nt-study report` as a user calls it, on studies as their folders are."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run_here
from written_study import score_table, write_study

from study.commands.report import report
from study.errors import StudyError
from study.looking.front_files import front_of
from study.repeating.new_seeds import write_summary
from study.repeating.retrain import seed_study
from study.storage.directory import StudyDirectory
from study.storage.records import keep_records
from trainables.config import BASELINE
from trainables.record import SCORES, WEIGHTS, write_scores


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def confirmed(tmp_path: Path) -> StudyDirectory:
    """A study with weights, logs, two new seeds and their summary."""
    directory = write_study(tmp_path / "studies", "kept")
    (directory.trial("t000") / "trial.log").write_text("long")
    members = [point.trial for point in front_of(directory).members if not point.is_baseline]
    for number in (1, 2):
        replica = seed_study(directory, number, members)
        for place, name in enumerate([BASELINE, *(f"t{place:03d}" for place in range(len(members)))]):
            scores = score_table(10 * number + place, strength=20.0 / (place + 1), noise=6.0)
            write_scores(replica.trial(name) / SCORES, scores, {"trial": name})
            (replica.trial(name) / WEIGHTS).write_bytes(b"large")
    write_summary(directory, front_of(directory))
    return directory


@pytest.mark.slow
def test_records_make_the_same_report_again(confirmed: StudyDirectory, tmp_path: Path) -> None:
    report(["kept"], tmp_path / "out", tmp_path / "records", tmp_path / "studies")
    report(["kept"], tmp_path / "again", None, tmp_path / "records")
    found = files_in(tmp_path / "out")
    assert {"report.html", "findings.md", "tables.md", "tables/table_2.csv", "figures/kept_front.png"} <= set(found)
    assert found == files_in(tmp_path / "again")
    assert "training seeds (2 of them)" in found["tables.md"].decode()


def test_records_hold_no_weights_no_logs_and_no_host(confirmed: StudyDirectory, tmp_path: Path) -> None:
    kept = keep_records(confirmed, tmp_path / "records")
    held = files_in(kept.path)
    assert {"study.yaml", "trials/t000/scores.parquet", "front/confirmed.json"} <= set(held)
    assert {f"confirm/seed-2/{name}" for name in ("members.json", "trials/t000/scores.parquet")} <= set(held)
    assert not [name for name in held if name.endswith((".log", WEIGHTS, "split.parquet"))]
    assert "host" in confirmed.read_json("environment.json")["hardware"]
    for file in ("environment.json", "confirm/seed-1/environment.json"):
        assert "host" not in kept.read_json(file)["hardware"]


def test_records_replace_those_of_an_older_study_of_the_name(confirmed: StudyDirectory, tmp_path: Path) -> None:
    records = tmp_path / "records"
    older = write_study(tmp_path / "older", "kept", ends=("complete",) * 5)
    keep_records(older, records)
    with pytest.raises(StudyError, match="which is none"):
        keep_records(confirmed, older.path.parent)  # a study is more than its records
    kept = keep_records(confirmed, records)
    assert sorted(path.name for path in kept.trials.iterdir()) == ["baseline", "t000", "t001", "t002"]
    with pytest.raises(StudyError, match="holds study 'kept' itself"):
        keep_records(kept, records)
    assert (kept.path / "study.yaml").exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_records_take_the_place_of_records_only(confirmed: StudyDirectory, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "pröject [1]" / confirmed.name
    thesis = place if kind == "file" else (tmp_path / "elsewhere" if kind == "link" else place) / "thesis.tex"
    thesis.parent.mkdir(parents=True, exist_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    thesis.write_text("years of work")
    if kind == "link":
        place.symlink_to(thesis.parent)
    with pytest.raises(StudyError, match="records would take the place of"):
        keep_records(confirmed, place.parent)
    assert thesis.read_text() == "years of work"
    assert [path.name for path in place.parent.iterdir()] == [place.name]


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
