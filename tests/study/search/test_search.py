"""The durable searcher on a real Optuna storage, without Ray: what it suggests, what it tells, what it survives."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
import sqlalchemy.exc
from optuna.trial import TrialState
from searching import DRIVER, finish_baseline, measured, search_of, study_in, suggest, told
from written_study import write_trial

from search_spaces.schema import Sampler
from study.errors import StudyError
from study.search.durable import DurableSearch, check_storage, objective_values, retry_failed
from study.search.samplers import MIXTURE_VALUES
from study.storage.summaries import summarise
from trainables.config import BASELINE
from trainables.record import SCORES, read_scores, write_scores

FINISHED = "FINISHED"


@pytest.fixture
def search(tmp_path: Path) -> DurableSearch:
    """Of a study of three trials whose baseline is finished."""
    directory, _ = study_in(tmp_path, trials=3)
    search = search_of(directory)
    finish_baseline(search)
    return search


def test_the_baseline_comes_first_and_the_others_wait_for_it(tmp_path: Path) -> None:
    directory, _ = study_in(tmp_path, trials=1)
    search = search_of(directory)
    assert suggest(search, "a")["trial"] == BASELINE
    assert search.suggest("b") is None, "trials start from its weights"
    measured(directory, BASELINE)
    search.on_trial_complete("a", {})
    assert suggest(search, "b")["trial"] == "t000"
    assert search.suggest("c") == FINISHED


def test_the_first_points_come_before_the_sampler_s(search: DurableSearch) -> None:
    first = [dict(point) for point in search.study_file.first_points]
    points = [suggest(search, str(number))["point"] for number in range(3)]
    assert first and points[: len(first)] == first
    assert all(point not in first for point in points[len(first) :]), "the sampler's own"


def test_a_finished_trial_is_told_complete_with_the_values_of_its_table(search: DurableSearch) -> None:
    name = suggest(search, "a")["trial"]
    measured(search.directory, name)
    search.on_trial_complete("a", {})
    (trial, *_) = told(search.directory)
    assert trial.state == TrialState.COMPLETE
    assert trial.values == objective_values(search.directory, search.study_file, name)
    assert (trial.user_attrs["trial"], trial.user_attrs["ray_trial"]) == (name, "a")


def test_a_trial_that_the_scheduler_stopped_is_told_pruned_and_keeps_its_last_values(search: DurableSearch) -> None:
    name = suggest(search, "a")["trial"]
    write_trial(search.directory, search.study_file, name, 0, end="pruned")
    (search.directory.trial(name) / "checkpoint.pt").write_bytes(b"no longer needed")
    search.on_trial_complete("a", {})
    (trial, *_) = told(search.directory)
    last = json.loads((search.directory.trial(name) / "epochs.jsonl").read_text().splitlines()[-1])
    assert trial.state == TrialState.PRUNED
    assert trial.user_attrs["last_values"] == [last["srocc"], last["rmse_attacked"]]
    assert "stopped early" in trial.user_attrs["reason"]
    assert not (search.directory.trial(name) / "checkpoint.pt").exists()


def test_an_error_is_told_failed_with_the_last_line_of_its_traceback(search: DurableSearch) -> None:
    name = suggest(search, "a")["trial"]
    search.directory.trial(name).mkdir(parents=True)
    (search.directory.trial(name) / "error.txt").write_text("Traceback …\nMemoryError: 3 GB\n", encoding="utf-8")
    search.on_trial_complete("a", error=True)
    (trial, *_) = told(search.directory)
    assert (trial.state, trial.user_attrs["reason"]) == (TrialState.FAIL, "MemoryError: 3 GB")


def test_a_process_that_vanished_is_told_failed_too(search: DurableSearch) -> None:
    suggest(search, "a")
    search.on_trial_complete("a", error=True)
    assert told(search.directory)[0].state == TrialState.FAIL
    assert "out of memory, or its node was lost" in told(search.directory)[0].user_attrs["reason"]


def test_a_trial_that_fails_in_its_set_up_is_told_with_its_point_and_reason(search: DurableSearch) -> None:
    """It wrote no configuration, and a full disk left its error empty; `status` and MLflow see it nevertheless."""
    suggestion = suggest(search, "a")
    name, point = suggestion["trial"], suggestion["point"]
    search.directory.trial(name).mkdir(parents=True)
    (search.directory.trial(name) / "error.txt").touch()
    search.said["a"] = "ValueError: there is no file set/ok.csv"
    search.on_trial_complete("a", error=True)
    (failed,) = [trial for trial in summarise(search.directory) if trial.trial == name]
    assert (failed.state, failed.reason) == ("failed", "ValueError: there is no file set/ok.csv")
    assert (failed.lam, failed.step_size) == (point["lam"], point["step_size"])


def test_an_objective_that_is_not_a_number_is_told_failed(search: DurableSearch) -> None:
    name = suggest(search, "a")["trial"]
    measured(search.directory, name)
    scores = read_scores(search.directory.trial(name) / SCORES)
    write_scores(search.directory.trial(name) / SCORES, scores.assign(clean_score=50.0), {"trial": name})
    search.on_trial_complete("a", {})
    (trial, *_) = told(search.directory)
    assert trial.state == TrialState.FAIL
    assert "srocc is nan" in trial.user_attrs["reason"]


def test_what_was_told_is_not_told_again(search: DurableSearch) -> None:
    name = suggest(search, "a")["trial"]
    measured(search.directory, name)
    search.on_trial_complete("a", {})
    before = told(search.directory)[0]
    search.on_trial_complete("a", error=True)
    search_of(search.directory)
    assert told(search.directory)[0] == before


def test_after_a_crash_unfinished_trials_come_first_and_the_number_asked_for_is_kept(search: DurableSearch) -> None:
    first, second = suggest(search, "a"), suggest(search, "b")
    write_trial(search.directory, search.study_file, first["trial"], 0, end="")
    measured(search.directory, second["trial"], 1)  # it ended, and the driver died before it heard

    again = search_of(search.directory)
    assert again.remaining == 2
    assert told(search.directory)[1].state == TrialState.COMPLETE
    assert suggest(again, "c") == first
    assert suggest(again, "d")["trial"] == "t002"
    assert again.suggest("e") == FINISHED
    assert len(told(search.directory)) == 3


class _Killed(optuna.samplers.RandomSampler):
    """Dies while it thinks of a point's second number, as a driver may be killed."""

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        if name == "step_size":
            raise SystemExit
        return super().sample_independent(study, trial, name, distribution)


def test_a_trial_whose_driver_died_while_asking_gets_its_point_later(search: DurableSearch) -> None:
    points = [suggest(search, str(number))["point"] for number in range(len(search.study_file.first_points))]
    search.optuna_study.sampler = _Killed(seed=0)
    with pytest.raises(SystemExit):
        search.suggest("killed")
    begun = told(search.directory)[len(points)]
    assert begun.state == TrialState.RUNNING and set(begun.params) == {"lam"}, "half a point is in the storage"
    again = search_of(search.directory)
    suggestions = [suggest(again, f"again-{number}") for number in range(len(points) + 1)]
    assert [one["point"] for one in suggestions[:-1]] == points
    assert suggestions[-1]["trial"] == f"t{len(points):03d}"
    completed = suggestions[-1]["point"]
    assert set(completed) == {"lam", "step_size"} and completed["lam"] == begun.params["lam"]
    assert told(search.directory)[len(points)].params == completed


def test_a_search_that_has_lost_its_memory_gives_no_name_away(search: DurableSearch) -> None:
    measured(search.directory, suggest(search, "a")["trial"])
    (search.directory.path / "optuna.db").rename(search.directory.path / "elsewhere.db")
    with pytest.raises(StudyError, match=r"has a trial t000 that its search storage knows nothing of; bring"):
        search_of(search.directory)


def test_a_storage_that_fails_ends_the_run_and_not_the_trial(
    search: DurableSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = suggest(search, "a")["trial"]
    measured(search.directory, name)

    def gone(*_: Any, **__: Any) -> None:
        raise sqlalchemy.exc.OperationalError("UPDATE", {}, Exception("server closed the connection"))

    with monkeypatch.context() as broken:
        broken.setattr(search.optuna_study, "tell", gone)
        search.on_trial_complete("a", {})
    assert search.broken == "server closed the connection" and search.is_over
    assert told(search.directory)[0].state == TrialState.RUNNING
    search_of(search.directory)
    assert told(search.directory)[0].state == TrialState.COMPLETE, "the next run tells what this one could not"


def test_a_full_disk_is_no_trial_s_fault(search: DurableSearch) -> None:
    name = suggest(search, "a")["trial"]
    write_trial(search.directory, search.study_file, name, 0, end="")
    (search.directory.trial(name) / "error.txt").write_text("OSError: [Errno 28] No space left on device\n")
    search.on_trial_complete("a", error=True)
    assert search.broken is not None and "no space left" in search.broken
    assert told(search.directory)[0].state == TrialState.RUNNING
    assert suggest(search_of(search.directory), "b")["trial"] == name, "and it goes on where it was"


def test_an_interrupted_trial_is_neither_pruned_nor_failed(search: DurableSearch) -> None:
    first = suggest(search, "a")
    write_trial(search.directory, search.study_file, first["trial"], 0, end="")
    assert search.remaining == 3, "the one under way counts, or an interrupted study would look finished"
    search.on_trial_complete("a", {"epoch": 1})
    assert search.remaining == 3
    assert told(search.directory)[0].state == TrialState.RUNNING
    assert suggest(search_of(search.directory), "b") == first


def test_a_baseline_with_a_record_is_not_run_again(tmp_path: Path) -> None:
    """It had ended when the driver was killed, which had not heard of it."""
    directory, _ = study_in(tmp_path)
    measured(directory, BASELINE)
    assert suggest(search_of(directory), "a")["trial"] == "t000"


def test_a_failed_baseline_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    directory, _ = study_in(tmp_path)
    search = search_of(directory)
    suggest(search, "a")
    search.on_trial_complete("a", error=True)
    assert search.baseline_error is not None and search.suggest("b") == FINISHED
    assert suggest(search_of(directory), "c")["trial"] == BASELINE


def fail(search: DurableSearch, ray_trial: str, error: str) -> None:
    name = suggest(search, ray_trial)["trial"]
    search.directory.trial(name).mkdir(parents=True)
    (search.directory.trial(name) / "error.txt").write_text(error, encoding="utf-8")
    search.on_trial_complete(ray_trial, error=True)


def test_trials_that_all_fail_alike_end_the_study_and_can_be_retried(search: DurableSearch) -> None:
    for ray_trial in "abc":
        assert search.gave_up is None
        fail(search, ray_trial, "RuntimeError: no kernel image")
    assert search.gave_up == "RuntimeError: no kernel image"

    study_file = search.study_file
    points = [trial.params for trial in told(search.directory) if trial.state == TrialState.FAIL]
    wanted = study_file.trials + 3
    assert retry_failed(search.directory, study_file) == wanted
    assert retry_failed(search.directory, study_file) == wanted, "each point once, also after a kill before this"
    search.directory.write_study_file(study_file.model_copy(update={"trials": wanted}))
    assert retry_failed(search.directory, search.directory.read_study_file()) == wanted
    again = search_of(search.directory)
    assert again.gave_up is None
    assert [suggest(again, name)["point"] for name in "def"] == points


def test_errors_that_differ_in_names_and_numbers_are_alike(search: DurableSearch) -> None:
    search = search_of(search.directory)
    for number in range(search.study_file.give_up_after):
        name = suggest(search, str(number))["trial"]
        search.directory.trial(name).mkdir(parents=True)
        sentence = f"OutOfMemoryError: trial {name} with λ = {10.0**-number:g} wanted {number}.5 GiB"
        (search.directory.trial(name) / "error.txt").write_text(sentence, encoding="utf-8")
        search.on_trial_complete(str(number), error=True)
    assert search.gave_up is not None and search.gave_up.endswith("GiB")


def test_different_failures_do_not_end_the_study(search: DurableSearch) -> None:
    for ray_trial, error in zip("abc", ("first", "second", "first"), strict=True):
        fail(search, ray_trial, error)
    assert search.gave_up is None


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_every_sampler_fills_a_study_to_its_last_trial(tmp_path: Path, sampler: str) -> None:
    """With trials that complete, are stopped, fail and still run; grids end where they end."""
    directory, _ = study_in(tmp_path, trials=9, sampler=sampler, first_points=[])
    search = search_of(directory)
    finish_baseline(search)
    for number in range(9):
        suggestion = suggest(search, str(number))
        for name, axis in search.study_file.space.items():
            assert axis.low <= suggestion["point"][name] <= axis.high
        if number == 2:
            search.on_trial_complete(str(number), error=True)
        elif number != 3:  # which still runs
            end = "pruned" if number == 4 else "complete"
            write_trial(directory, search.study_file, suggestion["trial"], number, end)
            search.on_trial_complete(str(number), {})
    assert search.suggest("more") == FINISHED
    states = Counter(trial.state.name for trial in told(directory))
    assert states == {"COMPLETE": 6, "PRUNED": 1, "FAIL": 1, "RUNNING": 1}


def test_mixtures_that_were_measured_are_there_for_samplers(tmp_path: Path) -> None:
    directory, _ = study_in(tmp_path, trials=3)
    search = search_of(directory)
    finish_baseline(search)
    mixture, unfinished = "baseline~t000@0.5", "baseline~t000@0.25"
    write_trial(directory, search.study_file, mixture, 1, "complete")
    write_trial(directory, search.study_file, unfinished, 2, end="")
    again = search_of(directory)
    assert again.optuna_study.user_attrs[MIXTURE_VALUES] == [objective_values(directory, again.study_file, mixture)]
    assert len(again.optuna_study.trials) == len(search.optuna_study.trials), "they are none of its trials"


def test_epochs_of_running_trials_are_there_for_samplers(search: DurableSearch) -> None:
    suggest(search, "a")
    search.on_trial_result("a", {"epoch": 1, "srocc": 0.7, "rmse_attacked": math.inf, "done": False})
    assert told(search.directory)[0].user_attrs["last_values"] == [0.7, math.inf]


def test_a_storage_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    directory, study_file = study_in(tmp_path, storage=f"{DRIVER}//somebody@127.0.0.1:{port}/studies")
    with pytest.raises(StudyError, match=r"cannot be opened: .*refused"):
        check_storage(directory, study_file)


def test_optuna_s_dashboard_opens_the_storage_of_a_running_study(search: DurableSearch) -> None:
    measured(search.directory, suggest(search, "a")["trial"])
    search.on_trial_complete("a", {})
    suggest(search, "b")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("optuna-dashboard")
    server = subprocess.Popen([program, search.directory.optuna_url, "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        (summary,) = get_json(f"http://127.0.0.1:{port}/api/studies")["study_summaries"]
        assert summary["study_name"] == "search"
        trials = get_json(f"http://127.0.0.1:{port}/api/studies/{summary['study_id']}?after=0")["trials"]
        assert [trial["state"] for trial in trials][:2] == ["Complete", "Running"]
    finally:
        server.terminate()
        server.wait(30)


def get_json(address: str, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)
        except OSError:
            assert time.monotonic() < deadline, f"{address} does not answer"
            time.sleep(0.2)
