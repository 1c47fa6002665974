"""`nt-study status` and `nt-study list`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from study.commands.options import STUDIES, JsonOption, StudiesOption, print_json


def status(
    name: Annotated[str | None, typer.Argument(help="Name of the study; every study when left out.")] = None,
    studies: StudiesOption = STUDIES,
    as_json: JsonOption = False,
) -> None:
    """Show how far a study is, also while it runs in another terminal."""
    from study.storage.directory import find

    if name is None:
        list_(studies, as_json)
        return
    facts = _facts(find(studies, name), with_trials=True)
    if as_json:
        print_json(facts)
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    running = facts["owner"]
    console.print(
        f"study [bold]{name}[/] of {facts['baseline']} on {facts['data']}: "
        + ", ".join(f"{count} {state}" for state, count in facts["states"].items())
    )
    left = f", about {facts['seconds_left'] / 60:.0f} min left" if facts["seconds_left"] is not None else ""
    console.print(f"run by process {running['pid']} on {running['host']}{left}" if running else "not running")
    if facts["best"]:
        best = ", ".join(f"{role} {trial}" for role, trial in facts["best"].items())
        console.print(f"front of {facts['front']} trials, hypervolume {facts['hypervolume']:.4g}: {best}")
    table = Table(box=None, pad_edge=False)
    for title in ("trial", "state", "λ", "h", "epoch", "SROCC", "attacked RMSE", "reason"):
        table.add_column(title, justify="left" if title in ("trial", "state", "reason") else "right")
    for trial in facts["trials"]:
        last = trial["last_epoch"]
        table.add_row(
            trial["trial"],
            trial["state"],
            f"{trial['lam']:.2g}",
            f"{trial['step_size']:.2g}",
            f"{trial['epochs']}/{trial['planned_epochs']}",
            f"{last['srocc']:.3f}" if last else "",
            f"{last['rmse_attacked']:.2f}" if last else "",
            trial["reason"],
        )
    console.print(table)
    for place, where in facts["places"].items():
        console.print(f"{place}: {where}", soft_wrap=True)


def list_(studies: StudiesOption = STUDIES, as_json: JsonOption = False) -> None:
    """List the studies."""
    from study.storage.directory import find_all
    from study.storage.mirror import place_of

    found = [_facts(directory, with_trials=False) for directory in find_all(studies)]
    if as_json:
        print_json({"studies": found})
        return
    if not found:
        print(f"no study in {place_of(studies)} yet; start one with: nt-study launch hyperiqa")
    for facts in found:
        states = ", ".join(f"{count} {state}" for state, count in facts["states"].items() if count)
        print(f"{facts['study']:20} {facts['baseline']:14} {facts['data']:20} {states}")


def _facts(directory: Any, *, with_trials: bool) -> dict[str, Any]:
    from study.storage.summaries import count_states, seconds_left, summarise

    trials = summarise(directory)
    study_file = directory.read_study_file()
    facts = {
        "study": directory.name,
        "path": directory.place,
        "baseline": study_file.baseline,
        "data": study_file.data,
        "states": count_states(directory, trials),
        "owner": directory.owner(),
    }
    if with_trials:
        facts |= _best(directory, trials)
        facts["seconds_left"] = seconds_left(trials, study_file.trials)
        facts["places"] = {
            "folder": directory.place,
            "log": str(directory.driver_log),
            "search": study_file.storage or directory.search_place,
            "plot": str(directory.front / "pareto.html"),
        }
        facts["trials"] = [
            {
                "trial": trial.trial,
                "state": trial.state,
                "lam": trial.lam,
                "step_size": trial.step_size,
                "epochs": len(trial.epochs),
                "planned_epochs": trial.planned_epochs,
                "last_epoch": trial.epochs[-1] if trial.epochs else None,
                "validation": trial.validation,
                "reason": trial.reason,
            }
            for trial in trials
        ]
    return facts


def _best(directory: Any, trials: list[Any]) -> dict[str, Any]:
    """The front so far, as far as there is one."""
    from study.front import front_of

    try:
        found = front_of(directory, trials)
    except ValueError:  # no trial is complete yet
        return {"front": 0, "hypervolume": None, "best": {}}
    best = {"knee": found.knee, "most accurate": found.most_accurate, "most robust": found.most_robust}
    return {
        "front": len(found.members),
        "hypervolume": found.hypervolume,
        "best": {role: member.trial for role, member in best.items()},
    }
