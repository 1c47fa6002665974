"""`nt-study compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.commands.options import (
    STUDIES,
    JsonOption,
    MlflowOption,
    StudiesOption,
    StudyNames,
    print_json,
    terminal,
    warn,
)
from study.errors import StudyError

if TYPE_CHECKING:
    from rich.table import Table

    from analysis.front import Front
    from analysis.rivals import Answer
    from analysis.versus import Difference
    from study.storage.directory import StudyDirectory
    from study.storage.summaries import TrialSummary


def compare(
    names: StudyNames,
    out: Annotated[Path, typer.Option(help="Folder to write pareto.html and pareto.png to.")] = Path("comparison"),
    record: Annotated[bool, typer.Option("--record", help="Show the plot in MLflow as well.")] = False,
    mlflow: MlflowOption = None,
    studies: StudiesOption = STUDIES,
    as_json: JsonOption = False,
) -> None:
    """Lay the fronts of several studies over each other, and say which is better in what.

    The first study is held against each of the others: their knees, most accurate and most robust models, on the test
    photographs, with 95 % intervals of the differences over the same photographs. Studies of one network with several
    defences also get a table: which defence is best at equal accuracy, robustness and cost, and under the worst attack.
    """
    from analysis.comparable import require_same_data
    from analysis.figures.pareto import pareto_html, pareto_png
    from analysis.rivals import as_markdown, to_dict
    from analysis.tables_as import from_markdown
    from study.looking.front_files import data_of, front_of
    from study.looking.written import write_pages
    from study.storage.directory import find
    from study.storage.summaries import summarise
    from study.suggest import command

    if len(set(names)) < 2:
        raise StudyError(
            f"name at least two different studies to compare; one alone: {command('front', names[0], studies=studies)}"
        )
    directories = [find(studies, name) for name in dict.fromkeys(names)]
    trials = [summarise(directory) for directory in directories]
    warn(problem for own in trials for trial in own for problem in trial.problems)
    fronts = [front_of(directory, own) for directory, own in zip(directories, trials, strict=True)]
    data = [data_of(directory, own) for directory, own in zip(directories, trials, strict=True)]
    require_same_data(list(zip((directory.name for directory in directories), data, strict=True)))
    asked = _rivalry(fronts, directories, trials)
    text = as_markdown(asked) if asked else ""
    pages = {
        "pareto.html": pareto_html(*fronts, below=from_markdown(text) if text else "").encode(),
        "pareto.png": pareto_png(*fronts),
        **({"defences.md": text.encode()} if text else {}),
    }
    write_pages(out, pages, b"Front of ")
    against = [_against(fronts[0], directories[0], *other) for other in zip(fronts[1:], directories[1:], strict=True)]
    if record:
        from study.tracking.tracker import record_comparison

        place = record_comparison(directories, out, mlflow)
    if as_json:
        print_json(
            {
                "studies": [front.to_dict() for front in fronts],
                "against": [_as_dict(*one) for one in against],
                "defences": [to_dict(answer) for answer in asked],
                "plot": str(out / "pareto.html"),
            }
        )
        return
    from study.commands.front import front_table

    console = terminal()
    for front in fronts:
        console.print(f"\nstudy [bold]{front.study}[/]")
        console.print(front_table(front))
    for other, found, said in against:
        console.print(_differences_table(fronts[0].study, other, found))
        console.print(f"\n{said}", style="bold", markup=False, highlight=False, soft_wrap=True)
    for answer in asked:
        console.print(f"\n{answer.question}:", markup=False, highlight=False, soft_wrap=True)
        console.print(answer.verdict, style="bold", markup=False, highlight=False, soft_wrap=True)
    if asked:
        console.print(f"\nThe numbers behind these are in {out / 'defences.md'}", highlight=False, soft_wrap=True)
    console.print(f"\nThe plot is {out / 'pareto.html'}")
    if record:
        console.print(f"In MLflow it is {place}", highlight=False, soft_wrap=True)


def _rivalry(fronts: list[Front], directories: list[StudyDirectory], trials: list[list[TrialSummary]]) -> list[Answer]:
    """Which defence is best at what; nothing where these are not studies of several defences of one network."""
    from analysis.rivals import Rival, answers, is_of_rivals
    from study.repeating.retrain import retrained_tables
    from trainables.record import SCORES, read_scores

    if len({directory.read_study_file().baseline for directory in directories}) > 1 or not is_of_rivals(fronts):
        return []
    rivals = []
    for front, directory, own in zip(fronts, directories, trials, strict=True):
        complete = [trial.trial for trial in own if trial.state == "complete"]
        problems: list[str] = []
        rivals.append(
            Rival(
                front=front,
                tables={trial: read_scores(directory.trial(trial) / SCORES) for trial in complete},
                retrained={trial: retrained_tables(directory, trial, problems) for trial in complete},
            )
        )
        warn(dict.fromkeys(problems))
    return answers(rivals)


def _against(
    first: Front, directory: StudyDirectory, second: Front, other: StudyDirectory
) -> tuple[str, list[Difference], str]:
    """The second study's name, the differences from the first one, and the verdict."""
    from analysis.versus import differences, members, verdict
    from trainables.record import SCORES, read_scores

    tables = [
        {trial: read_scores(of.trial(trial) / SCORES) for trial in members(front)}
        for front, of in ((first, directory), (second, other))
    ]
    found = differences(first, second, *tables)
    return second.study, found, verdict(first, second, found)


def _differences_table(first: str, second: str, found: list[Difference]) -> Table:
    from rich.table import Table

    table = Table(
        title=f"\n{second} minus {first}, on test photographs [95 % interval, paired]",
        box=None,
        pad_edge=False,
        title_justify="left",
    )
    for title in ("models", "", "objective", "difference", "better"):
        table.add_column(title, justify="right" if title == "difference" else "left")
    for one in found:
        change = f"{one.change.value:+.3f} [{one.change.low:+.3f}, {one.change.high:+.3f}]"
        better = ("undecided", first, second)[one.better]
        table.add_row(one.role, f"{one.second} – {one.first}", one.name.replace("_", " "), change, better)
    return table


def _as_dict(other: str, found: list[Difference], said: str) -> dict[str, Any]:
    from analysis.front import finite

    rows = [
        {
            "role": one.role,
            "first": one.first,
            "second": one.second,
            "objective": one.name,
            "difference": finite(one.change.value),
            "low": finite(one.change.low),
            "high": finite(one.change.high),
            "better": (None, "first", "second")[one.better],
        }
        for one in found
    ]
    return {"study": other, "verdict": said, "differences": rows}
