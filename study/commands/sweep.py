"""`nt-study sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from study.commands.options import STUDIES, AddressOption, MlflowOption, StudiesOption, go_to, progress_terminal
from study.errors import StudyError
from trainables.written import number


def sweep(
    baseline: Annotated[str, typer.Argument(metavar="BASELINE|STUDY_FILE", help="A baseline's name or a study file.")],
    parameter: Annotated[str, typer.Argument(metavar="lam|step_size|intensity", help="What to vary.")],
    values: Annotated[str | None, typer.Option(help="Values of λ or h, as in 1e-5,1e-4,1e-3.")] = None,
    seeds: Annotated[int, typer.Option(help="Training seeds of every point.", min=1)] = 3,
    name: Annotated[str | None, typer.Option(help="Name of the study; <baseline>-<parameter> by default.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="demo, smoke, laptop, gpu, objectives, paper or as_released.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Size of the network: small, mobile or paper.")] = None,
    data: Annotated[str | None, typer.Option(help="Images: photos, livec:/path, csv:/path/manifest.csv, …")] = None,
    full_suite: Annotated[str | None, typer.Option(help="Attack fully: none, reported, front or all.")] = None,
    mlflow: MlflowOption = None,
    studies: StudiesOption = STUDIES,
    address: AddressOption = None,
) -> None:
    """Run one of the paper's ablations: over λ (Figure 7), h (Table 4) or the attack's intensity (Figure 6, Table S2).

    Run again, it goes on where it was, or says that it is finished. Its tables and figures: nt-study report NAME.
    """
    from study.repeating.sweep import Parameter, is_same, sweep_file
    from study.repeating.sweep import sweep as run_sweep
    from study.running.run import prepare
    from study.storage.directory import exists, find
    from study.storage.mirror import place_of

    go_to(address)
    chosen = next((known for known in get_args(Parameter) if known == parameter), None)
    if chosen is None:
        raise StudyError(f"a sweep is over {', '.join(get_args(Parameter))}, not {parameter!r}")
    name = name or f"{Path(baseline).stem}-{parameter}"
    if chosen == "intensity" and full_suite is not None:
        raise StudyError("a sweep of the attack's intensity attacks all its trials fully and takes no --full-suite")
    given = {"size": size, "data": data, "full_suite": full_suite}
    overrides: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    study_file = sweep_file(baseline, chosen, values=_numbers(values), preset=preset, overrides=overrides)
    is_there = exists(studies, name)
    directory = find(studies, name) if is_there else prepare(studies, name, study_file, progress_terminal())
    if is_there and not is_same(directory.read_launched_file(), study_file):
        raise StudyError(f"study {name!r} in {place_of(studies)} is another one than this sweep; choose another --name")
    if is_there:
        later = {"full_suite": study_file.full_suite, "suite": study_file.suite}
        with directory.locked():
            directory.write_study_file(directory.read_study_file().model_copy(update=later))
            directory.send()
    if not run_sweep(directory, seeds, progress_terminal(), mlflow):
        print(f"\nsweep {name!r} is not finished; the same command goes on with it")
        raise typer.Exit(130)
    print(f"\nsweep {name!r} is finished; its tables and figures:")
    print(f"  {directory.command('report', '--out', 'report')}")


def _numbers(text: str | None) -> list[float]:
    if text is None:
        return []
    try:
        return [number(part) for part in text.split(",")]
    except ValueError:
        raise StudyError(f"--values {text!r} are no numbers; write them with commas, as in 1e-5,1e-4") from None
