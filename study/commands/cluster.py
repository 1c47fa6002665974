"""`nt-study cluster check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from study.commands.options import JsonOption, print_json


def check(
    file: Annotated[Path, typer.Argument(help="A Ray cluster file, as cluster.yaml.")],
    as_json: JsonOption = False,
) -> None:
    """Look a cluster file over before money is spent: its form, versions, security, values left to replace; offline."""
    from study.cluster.check import check_cluster, read_cluster_file, start_command

    config = read_cluster_file(file)
    problems = check_cluster(config)
    start = None if problems else start_command(config, file)
    if as_json:
        print_json({"file": str(file), "problems": problems, "start": start})
    else:
        for problem in problems:
            print(problem)
        print(f"nothing wrong; start it: {start}" if start else f"\n{len(problems)} problems in {file}")
    if problems:
        raise typer.Exit(1)
