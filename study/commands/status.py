"""`nt-study status` and `nt-study list`."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.commands.options import STUDIES, AnyStudyName, JsonOption, StudiesOption, print_json, terminal, warn
from study.errors import StudyError

if TYPE_CHECKING:
    from rich.table import Table

    from search_spaces.schema import StudyFile
    from study.running.screen import Row
    from study.storage.directory import StudyDirectory
    from study.storage.summaries import TrialSummary

WATCH_SECONDS = 1.0
"""Between two looks at a study's folder."""


def status(
    name: AnyStudyName = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it live, until it ends or Ctrl-C.")] = False,
    studies: StudiesOption = STUDIES,
    as_json: JsonOption = False,
) -> None:
    """Show how far a study is, also while it runs in another terminal."""
    from study.storage.directory import find

    if watch and (name is None or as_json):
        raise StudyError("--watch shows one study, in a terminal; name it, and leave --json out")
    if watch and name is not None:
        _watch(studies, name)
        return

    if name is None:
        list_(studies, as_json)
        return
    facts = _facts(find(studies, name), with_trials=True)
    warn(facts["problems"])
    if as_json:
        print_json(facts)
        return
    from rich.table import Table

    console = terminal()
    running = facts["owner"]
    console.print(
        f"study [bold]{name}[/] of {facts['baseline']} on {facts['data']}: "
        + ", ".join(f"{count} {state}" for state, count in facts["states"].items())
    )
    left = f", about {facts['seconds_left'] / 60:.0f} min left" if facts["seconds_left"] is not None else ""
    console.print(f"run by process {running['pid']} on {running['host']}{left}" if running else "not running")
    if facts["doubt"]:
        console.print(facts["doubt"], style="bold", markup=False, highlight=False, soft_wrap=True)
    if facts["best"]:
        best = ", ".join(f"{role} {trial}" for role, trial in facts["best"].items())
        console.print(f"front of {facts['front']} models, hypervolume {facts['hypervolume']:.4g}: {best}")
    table = Table(box=None, pad_edge=False)
    for title in ("trial", "state", "λ", "h", "epoch", "SROCC", "attacked RMSE", "reason"):
        table.add_column(title, justify="left" if title in ("trial", "state", "reason") else "right")
    for trial in facts["trials"]:
        is_mixture = trial["kind"] == "mixture"  # it has no epochs, and no λ that trained it
        last = trial["validation"] if is_mixture else trial["last_epoch"] or {}
        table.add_row(
            trial["trial"],
            trial["state"],
            "mix" if is_mixture else _text(trial["lam"], ".2g"),
            "–" if is_mixture else _text(trial["step_size"], ".2g"),
            "–" if is_mixture else f"{trial['epochs']}/{trial['planned_epochs'] or '?'}",
            _text(last.get("srocc"), ".3f"),
            _text(last.get("rmse_attacked"), ".2f"),
            trial["reason"],
        )
    console.print(table)
    for place, where in facts["places"].items():
        console.print(f"{place}: {where}", soft_wrap=True)


def _watch(studies: Path, name: str) -> None:
    """Show a study's screen until nobody runs it any more; without a terminal, its line on the time when it changes."""
    from rich.live import Live

    from study.running.screen import screen
    from study.storage.directory import find

    console, said = terminal(), ""
    with Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop") as live:
        while True:
            directory = find(studies, name)  # a bucket's copy is brought up to date
            rows, line = _live(directory)
            if console.is_terminal:
                live.update(screen(rows, line), refresh=True)
            elif line != said:
                print(line, flush=True)
            if directory.owner() is None:
                return
            said = line
            time.sleep(WATCH_SECONDS)


def _live(directory: StudyDirectory) -> tuple[dict[str, Row], str]:
    """A study's trials as its launch shows them, and the line below."""
    from study.running.screen import left
    from study.storage.summaries import summarise

    trials, study_file, owner = summarise(directory), directory.read_study_file(), directory.owner()
    rows = _rows(directory, trials)
    ended = sum(row.has_ended for row in rows.values())
    rest = left(_seconds_left(rows, study_file, trials)) if owner else "not running"
    return rows, f"{ended} of {study_file.trials + 1} trials" + (f", {rest}" if rest else "")


def _rows(directory: StudyDirectory, trials: list[TrialSummary]) -> dict[str, Row]:
    from study.running.screen import row_of
    from study.storage.summaries import idle_of, overhead_of

    rows = {}
    for trial in trials:
        if not trial.is_mixture:
            folder = directory.trial(trial.trial)
            rows[trial.trial] = row_of(trial, overhead_of(folder), idle_of(folder))
    return rows


def _seconds_left(
    rows: dict[str, Row], study_file: StudyFile, trials: list[TrialSummary]
) -> tuple[float, float] | None:
    """As many trials run at a time as run now; before any does, one per processor."""
    from study.running.screen import seconds_left
    from trainables.config import BASELINE
    from trainables.record import CHECK

    running = sum(row.state == "running" for name, row in rows.items() if name != BASELINE)
    at_a_time = running or min(os.cpu_count() or 1, study_file.max_concurrent or study_file.trials)
    made = sum(trial.is_mixture for trial in trials)
    results = {f"rmse_attacked/{label}" for label in study_file.suite if not label.endswith(CHECK)}
    attacked = sum(results <= trial.validation.keys() for trial in trials)
    return seconds_left(rows, study_file, at_a_time, mixtures_made=made, attacked=attacked)


def list_(studies: StudiesOption = STUDIES, as_json: JsonOption = False) -> None:
    """List the studies."""
    from study.storage.directory import find_all
    from study.storage.mirror import place_of
    from study.suggest import command

    found, problems = [], []
    for directory in find_all(studies):
        try:
            found.append(_facts(directory, with_trials=False))
            problems += found[-1]["problems"]
        except (StudyError, ValueError, OSError) as error:
            problems.append(f"study {directory.name!r} is left out: {error}")
    warn(problems)
    if as_json:
        print_json({"studies": found})
        return
    if not found and not problems:
        start = command("launch", "hyperiqa", studies=studies)
        print(f"no study in {place_of(studies)} yet; start one with: {start}")
    if found:
        terminal().print(_list_table(found))


def _list_table(found: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("study", "launched", "baseline", "data", "trials"):
        table.add_column(title, overflow="fold")
    for facts in found:
        states = ", ".join(f"{count} {state}" for state, count in facts["states"].items() if count)
        running = " (running now)" if facts["owner"] else ""
        launched = facts["launched"].replace("T", " ")[:16]
        table.add_row(facts["study"], launched, facts["baseline"], facts["data"], states + running)
    return table


def _text(value: object, form: str) -> str:
    """A number as a table shows it; nothing for what is none."""
    return format(value, form) if isinstance(value, int | float) and math.isfinite(value) else ""


def _facts(directory: StudyDirectory, *, with_trials: bool) -> dict[str, Any]:
    from analysis.front import finite
    from study.storage.summaries import count_states, launched_at, summarise

    trials = summarise(directory)
    study_file = directory.read_study_file()
    facts: dict[str, Any] = {
        "study": directory.name,
        "path": directory.place,
        "baseline": study_file.baseline,
        "data": study_file.data,
        "launched": launched_at(directory),
        "states": count_states(directory, trials),
        "owner": directory.owner(),
        "problems": [problem for trial in trials for problem in trial.problems],
    }
    if with_trials:
        facts |= _best(directory, trials)
        left = _seconds_left(_rows(directory, trials), study_file, trials) if facts["owner"] else None
        facts["seconds_left"] = left[0] if left else None
        facts["places"] = {
            "folder": directory.place,
            "log": str(directory.driver_log),
            "search": study_file.storage or directory.search_place,
        }
        if (plot := directory.front / "pareto.html").exists():
            facts["places"]["plot"] = str(plot)
        facts["trials"] = [
            {
                "trial": trial.trial,
                "kind": "mixture" if trial.is_mixture else "trial",
                "state": trial.state,
                "lam": finite(trial.lam),
                "step_size": finite(trial.step_size),
                "epochs": len(trial.epochs),
                "planned_epochs": trial.planned_epochs,
                "last_epoch": trial.epochs[-1] if trial.epochs else None,
                "validation": trial.validation,
                "reason": trial.reason,
            }
            for trial in trials
        ]
    return facts


def _best(directory: StudyDirectory, trials: list[TrialSummary]) -> dict[str, Any]:
    """The front so far, as far as there is one."""
    from study.looking.front_files import front_of

    try:
        found = front_of(directory, trials)
    except ValueError:  # no trial is complete yet
        return {"doubt": None, "front": 0, "hypervolume": None, "best": {}}
    best = {"knee": found.knee, "most accurate": found.most_accurate, "most robust": found.most_robust}
    if found.doubt:
        best = {}
    return {
        "doubt": found.doubt or None,
        "front": len(found.members),
        "hypervolume": found.hypervolume,
        "best": {role: member.trial for role, member in best.items()},
    }
