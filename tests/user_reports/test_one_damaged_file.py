"""A user's disk filled up, or a sync tool left half a file: one bad file in a study's folder hid all studies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import run_here
from written_study import write_study

from study.errors import StudyError
from study.export.reading import read_config
from study.export.writing import environment_of

DAMAGED: dict[str, list[str | None]] = {
    "epochs.jsonl": ['{"epoch": 1, "train_', "[]", "\x00\x00", '{"epoch": "1", "train_seconds": []}', "null\n"],
    "config.json": ["", "[]", "null", '{"lam": "much"}', '{"recipe": []}', "{", "[" * 100_000],
    "result.json": ["", "[1]", '"complete"', '{"state": "done"}', '{"state": []}', "{}}"],
    "scores.parquet": ["", "PAR1", None],
    "error.txt": [""],
}
CASES = [(name, content) for name, contents in DAMAGED.items() for content in contents]


def damage(path: Path, content: str | None) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_text(content, encoding="utf-8")


def test_the_other_trials_are_shown_and_each_damaged_file_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    directory = write_study(tmp_path, "own", ends=("complete",) * (len(CASES) + 1))
    for number, (name, content) in enumerate(CASES):
        damage(directory.trial(f"t{number:03d}") / name, content)

    code, said, warned = run_here(monkeypatch, capsys, "status", "own", "--json", "--studies", tmp_path)
    assert (code, "Traceback" in warned) == (0, False)
    states = {trial["trial"]: trial["state"] for trial in json.loads(said)["trials"]}
    assert set(states) == {"baseline", *(f"t{number:03d}" for number in range(len(CASES) + 1))}
    for number, (name, _) in enumerate(CASES):
        trial = f"t{number:03d}"
        assert (str(directory.trial(trial) / name) in warned) == (name != "error.txt"), (name, warned)
        assert states[trial] == ("failed" if name == "scores.parquet" else "complete")

    for command in (["front", "own"], ["status", "own"], ["list"]):
        code, said, warned = run_here(monkeypatch, capsys, *command, "--studies", tmp_path)
        assert (code, "Traceback" in warned) == (0, False), warned
        assert "own" in said or "baseline" in said


def test_a_trial_is_read_as_far_as_its_epochs_go(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    directory = write_study(tmp_path, "own")
    path = directory.trial("t001") / "epochs.jsonl"
    first, *_ = path.read_text(encoding="utf-8").splitlines()
    path.write_text(f"{first}\n{first[:20]}\n", encoding="utf-8")
    _, said, warned = run_here(monkeypatch, capsys, "status", "own", "--json", "--studies", tmp_path)
    trial = next(trial for trial in json.loads(said)["trials"] if trial["trial"] == "t001")
    assert (trial["state"], trial["epochs"]) == ("complete", 1)
    assert f"{path} is damaged in line 2" in warned


def test_a_study_that_cannot_be_read_is_named_and_the_others_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_study(tmp_path, "good")
    contents = ["", "[]", "baseline: [", "baseline: hyperiqa"]
    for number, content in enumerate(contents):
        damage(write_study(tmp_path, f"bad{number}", ends=()).path / "study.yaml", content)
    code, said, warned = run_here(monkeypatch, capsys, "list", "--studies", tmp_path)
    assert code == 0
    assert "good" in said and "Traceback" not in warned
    for number in range(3):
        assert f"study 'bad{number}' is left out" in warned


@pytest.mark.parametrize("name", ["mlflow.json", "lock", "front/confirmed.json", "environment.json"])
def test_what_is_not_the_trials_own_costs_itself_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    directory = write_study(tmp_path, "own", ends=("complete",))
    directory.front.mkdir()
    for content in ("", "[]", '{"runs": 3, "trials": 3, "data": 3, "versions": []}'):
        damage(directory.path / name, content)
        for command in (["status", "own"], ["front", "own"]):
            code, said, warned = run_here(monkeypatch, capsys, *command, "--studies", tmp_path)
            assert (code, "Traceback" in warned) == (0, False), warned
            assert "t000" in said


def test_report_and_compare_go_on_without_the_damaged_trial(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    directory = write_study(tmp_path, "own", ends=("complete",) * 4)
    write_study(tmp_path, "other")
    damage(directory.trial("t001") / "scores.parquet", "PAR1")
    damage(directory.path / "mlflow.json", "[]")
    code, _, warned = run_here(monkeypatch, capsys, "report", "own", "--studies", tmp_path, "--out", tmp_path / "rep")
    assert code == 0 and "scores.parquet" in warned
    assert "t001" not in (tmp_path / "rep" / "tables.md").read_text(encoding="utf-8")
    code, _, warned = run_here(
        monkeypatch, capsys, "compare", "own", "other", "--studies", tmp_path, "--out", tmp_path / "c"
    )
    assert code == 0 and "scores.parquet" in warned


@pytest.mark.parametrize(
    "content",
    [
        '{"trials": []}',
        '{"trials": [5], "within_noise": []}',
        '{"trials": [], "within_noise": 5}',
        '{"trials": [{"trial": "t000", "seeds": 2, "mean": 1, "std": {}}], "within_noise": []}',
        '{"trials": [{"trial": "t000", "seeds": 2, "mean": {"validation": {}, "test": {}}, '
        '"std": {"validation": {}, "test": {}}, "test_intervals": {"srocc": [1]}}], "within_noise": []}',
    ],
)
def test_a_front_is_shown_whatever_confirmed_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str
) -> None:
    path = write_study(tmp_path, "own", ends=("complete",)).front / "confirmed.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    code, said, warned = run_here(monkeypatch, capsys, "front", "own", "--studies", tmp_path)
    assert (code, "Traceback" in warned) == (0, False), warned
    assert "baseline" in said


@pytest.mark.parametrize("name", ["version", "model", "size", "sha256", "seed", "input"])
@pytest.mark.parametrize("value", [None, [1], {}])
def test_an_export_of_wrong_types_is_named(knee: Path, tmp_path: Path, name: str, value: object) -> None:
    config = json.loads((knee / "config.json").read_text()) | {name: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config\.json is damaged: it says no usable|is an export of version"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        read_config(tmp_path)


@pytest.mark.parametrize("data", [None, 5, {}, {"spec": "photos", "fingerprint": 5, "score_kind": "mos", "images": {}}])
def test_a_study_that_does_not_say_its_data_is_not_exported(tmp_path: Path, data: object) -> None:
    directory = write_study(tmp_path, "own")
    directory.write_json("environment.json", directory.read_json("environment.json") | {"data": data})
    with pytest.raises(StudyError, match=r"environment\.json does not say what the study was trained on"):
        environment_of(directory)
