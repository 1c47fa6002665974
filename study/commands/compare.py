"""`nt-study compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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


def compare(
    names: StudyNames,
    out: Annotated[Path, typer.Option(help="Folder to write pareto.html and pareto.png to.")] = Path("comparison"),
    record: Annotated[bool, typer.Option("--record", help="Show the plot in MLflow as well.")] = False,
    mlflow: MlflowOption = None,
    studies: StudiesOption = STUDIES,
    as_json: JsonOption = False,
) -> None:
    """Lay the fronts of several studies over each other: which baseline is the more robust at which accuracy."""
    from analysis.comparable import require_same_data
    from analysis.figures.pareto import pareto_html, pareto_png
    from study.looking.front_files import data_of, front_of
    from study.storage.directory import find
    from study.storage.summaries import summarise
    from study.suggest import command
    from trainables.files import write_atomically

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
    try:
        pages = {"pareto.html": pareto_html(*fronts).encode(), "pareto.png": pareto_png(*fronts)}
        out.mkdir(parents=True, exist_ok=True)
        for name, content in pages.items():
            write_atomically(out / name, content)
    except OSError as error:
        raise StudyError(f"cannot write {out}: {error.strerror}; choose another --out") from None
    if record:
        from study.tracking.tracker import record_comparison

        place = record_comparison(directories, out, mlflow)
    if as_json:
        print_json({"studies": [front.to_dict() for front in fronts], "plot": str(out / "pareto.html")})
        return
    from study.commands.front import front_table

    console = terminal()
    for front in fronts:
        console.print(f"\nstudy [bold]{front.study}[/]")
        console.print(front_table(front))
    console.print(f"\nThe plot is {out / 'pareto.html'}")
    if record:
        console.print(f"In MLflow it is {place}", highlight=False, soft_wrap=True)
