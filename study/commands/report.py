"""`nt-study report`: the paper's tables and figures from finished studies."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.commands.options import STUDIES, StudiesOption, StudyNames, progress_terminal, warn
from study.errors import StudyError

if TYPE_CHECKING:
    from analysis.report_figures import StudyResult
    from study.storage.directory import StudyDirectory


def report(
    names: StudyNames,
    out: Annotated[Path, typer.Option(help="Folder to write report.html, findings.md, tables and figures to.")],
    records: Annotated[
        Path | None, typer.Option(help="Keep the studies' records (no weights) here, and report from them.")
    ] = None,
    studies: StudiesOption = STUDIES,
) -> None:
    """Write one offline page, what holds of the paper's claims, its tables in four formats and its figures.

    All of it comes from the score tables; example images also need the trials' weights.
    """
    from analysis.report import report_files
    from study.looking.written import write_pages
    from study.running.waiting import waiting
    from study.storage.directory import find
    from study.storage.records import keep_records

    found = [find(studies, name) for name in names]
    try:
        kept = found if records is None else [keep_records(directory, records) for directory in found]
    except OSError as error:
        raise StudyError(f"cannot keep the records in {records}: {error.strerror or error}") from None
    with waiting(progress_terminal(stderr=True), "reading records and drawing"):
        files = report_files([_result(directory) for directory in kept])
    write_pages(out, files, b"Report: ")
    print(f"{out / 'report.html'} and {len(files) - 1} tables and figures")


def _result(directory: StudyDirectory) -> StudyResult:
    from analysis.report_figures import StudyResult
    from study.looking.examples import examples_of, finite_differences_of, graded_examples
    from study.looking.front_files import data_of, front_of
    from study.repeating.retrain import retrained_tables
    from study.repeating.suite_tasks import audit_study
    from study.storage.reading import read_object_if_any
    from study.storage.summaries import summarise
    from trainables.objectives import DEFAULT_ATTACK
    from trainables.record import SCORES, read_scores

    trials = summarise(directory)
    problems = [problem for trial in trials for problem in trial.problems]
    study_file = directory.read_study_file()
    environment = read_object_if_any(directory.path / "environment.json", problems)
    data, versions, hardware = (_object(environment.get(name)) for name in ("data", "versions", "hardware"))
    found = front_of(directory, trials)
    complete = [trial.trial for trial in trials if trial.state == "complete"]
    result = StudyResult(
        front=found,
        baseline=study_file.baseline,
        data=data_of(directory, trials),
        scores={trial: read_scores(directory.trial(trial) / SCORES) for trial in complete},
        retrained={trial: retrained_tables(directory, trial, problems) for trial in complete},
        attacks=study_file.attacks | study_file.suite,
        worst_of=tuple(study_file.attacks),
        about=f"{study_file.baseline} ({study_file.size}) on {study_file.data}; {data.get('score_kind', 'scores')}",
        doubts={trial: [flag.message for flag in flags] for trial, flags in audit_study(directory, trials).items()},
        reproduce=_commands(directory),
        environment={
            "code": str(environment.get("code", "unknown")),
            "seed": str(study_file.seed),
            **{name: str(value) for name, value in versions.items()},
            **{name: str(value) for name, value in hardware.items()},
        },
        eps=study_file.attacks[DEFAULT_ATTACK].get("eps", 0.005),
        planned_trials=study_file.trials + 1,
    )
    warn(dict.fromkeys(problems))
    if found.reported is None or not directory.weights(found.reported.trial).exists():
        return result
    at_paper = [point for point in found.points if point.is_paper_setting and point not in result.compared]
    shown = [point for point in (*result.compared, *at_paper) if directory.weights(point.trial).exists()]
    try:
        return dataclasses.replace(
            result,
            examples=examples_of(directory, found.reported.trial),
            graded=graded_examples(directory, {point.trial: point.label for point in shown}),
            finite_differences={
                point.trial: finite_differences_of(directory, point.trial)
                for point in result.compared
                if directory.weights(point.trial).exists()
            },
        )
    except (ValueError, OSError, StudyError) as error:
        print(f"example images and finite differences of {directory.name} are left out: {error}")
        return result


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _commands(directory: StudyDirectory) -> list[str]:
    """What makes the study again, from the complete study file in its folder."""
    from study.looking.front_files import read_confirmed

    again = f"{directory.name}-again"
    commands = [shlex.join(["nt-study", "launch", f"{directory.name}/study.yaml", "--name", again])]
    if confirmed := read_confirmed(directory)["trials"]:
        seeds = str(max(one["seeds"] for one in confirmed))
        commands.append(shlex.join(["nt-study", "confirm", again, "--seeds", seeds]))
    return commands
