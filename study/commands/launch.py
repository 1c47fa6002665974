"""`nt-study launch` and `nt-study resume`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.commands.options import (
    SPLIT_HELP,
    STUDIES,
    AddressOption,
    MlflowOption,
    StudiesOption,
    StudyName,
    SwinScaleOption,
    go_to,
    progress_terminal,
    terminal,
)
from study.errors import StudyError
from trainables.written import number

if TYPE_CHECKING:
    from search_spaces.schema import StudyFile
    from study.running.forecast import Forecast
    from study.storage.directory import StudyDirectory


def launch(
    study: Annotated[str, typer.Argument(metavar="BASELINE|STUDY_FILE", help="A baseline's name or a study file.")],
    name: Annotated[str | None, typer.Option(help="Name of the study; the baseline's name by default.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="demo, smoke, laptop, gpu, objectives, paper or as_released.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Size of the network: small, mobile or paper.")] = None,
    data: Annotated[str | None, typer.Option(help="Images: photos, livec:/path, csv:/path/manifest.csv, …")] = None,
    split: Annotated[str | None, typer.Option(help=SPLIT_HELP)] = None,
    skip_unreadable: Annotated[bool, typer.Option("--skip-unreadable", help="Leave unreadable images out.")] = False,
    weights: Annotated[Path | None, typer.Option(help="Published checkpoint to start from; DBCNN: scnn.pkl.")] = None,
    swin_scale: SwinScaleOption = None,
    trials: Annotated[int | None, typer.Option(help="Trials, beside the λ=0 baseline.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    sampler: Annotated[str | None, typer.Option(help="pareto_gp, path, tpe, nsga2, gp, qmc, random or grid.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Early stopping of trials: none or pareto_asha.")] = None,
    storage: Annotated[str | None, typer.Option(help="Optuna storage as a database URL.")] = None,
    lam: Annotated[str | None, typer.Option(metavar="LOW:HIGH", help="Range of λ.")] = None,
    step_size: Annotated[str | None, typer.Option(metavar="LOW:HIGH", help="Range of h.")] = None,
    defence: Annotated[
        str | None,
        typer.Option(help="nt, exact_norm, adversarial_training, trades, rank_margin or none; each has its own space."),
    ] = None,
    eps: Annotated[
        str | None, typer.Option(metavar="LOW:HIGH", help="Range of a defence's budget, in [0, 1] pixel units.")
    ] = None,
    full_suite: Annotated[str | None, typer.Option(help="Attack fully at the end: none, reported, front, all.")] = None,
    mixtures: Annotated[int | None, typer.Option(help="Mixtures to fill the front with; 0: none.")] = None,
    max_concurrent: Annotated[int | None, typer.Option(help="Trials at a time, at most; 1 runs them serially.")] = None,
    mlflow: MlflowOption = None,
    studies: StudiesOption = STUDIES,
    address: AddressOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would run, how long, how much disk, and what is missing.")
    ] = False,
    price: Annotated[
        float | None, typer.Option(min=0, help="With --dry-run: what an hour of this machine costs, to say the sum.")
    ] = None,
    or_show: Annotated[bool, typer.Option("--or-show", help="If the study exists, continue or show it.")] = False,
) -> None:
    """Run a study: the λ=0 baseline and NT trials over λ and h, each trained, attacked and measured.

    Another --defence takes NT's place in the trials, over its own parameters.
    """
    from search_spaces.schema import load_study_file
    from study.running.run import prepare
    from study.storage.directory import exists, find

    go_to(address)
    recipe = {"weights": str(weights) if weights else None, "swin_scale": swin_scale, "defence": defence}
    overrides: dict[str, Any] = {
        key: value
        for key, value in {
            "size": size,
            "data": data,
            "split": {"mode": split} if split else None,
            "trials": trials,
            "seed": seed,
            "sampler": sampler,
            "scheduler": {"name": scheduler} if scheduler else None,
            "recipe": {key: value for key, value in recipe.items() if value} or None,
            "storage": storage,
            "max_concurrent": max_concurrent,
            "skip_unreadable": skip_unreadable or None,
            "full_suite": full_suite,
            "mixtures": mixtures,
        }.items()
        if value is not None
    }
    ranges = {"lam": _range("lam", lam), "step_size": _range("step-size", step_size), "eps": _range("eps", eps)}
    if space := {key: value for key, value in ranges.items() if value}:
        overrides |= {"space": space, "first_points": []}
    study_file = load_study_file(study, preset=preset, overrides=overrides)
    name = name or study_file.baseline
    if dry_run:
        _foretell(studies, name, study_file, price)
        return
    if price is not None:
        raise StudyError("--price is for --dry-run, which says what a study would cost; add it, or leave --price out")
    if or_show and exists(studies, name):
        _run_and_show(find(studies, name), mlflow)
    else:
        directory = prepare(studies, name, study_file, progress_terminal())
        for remark in _remarks(study_file, directory):
            print(f"nt-study: {remark}", file=sys.stderr)
        _run_and_show(directory, mlflow)


def _foretell(studies: Path, name: str, study_file: StudyFile, price: float | None) -> None:
    """Print what the study would be; exit code 2 where something is missing, all of which is then named."""
    from study.running.forecast import forecast
    from study.running.ready import look_over
    from study.running.waiting import waiting

    progress = progress_terminal(stderr=True)
    problems: list[str] = []
    with waiting(progress, "looking at study file, weights and images"):
        ready = look_over(studies, name, study_file, problems)
    if ready is None:
        raise StudyError("; and ".join(dict.fromkeys(problems)))
    with waiting(progress, "timing a step of each kind"):
        found = forecast(ready)
    for line in _forecast_lines(found, studies, ready.study_file, price):
        print(line)


def _forecast_lines(found: Forecast, studies: Path, study_file: StudyFile, price: float | None) -> list[str]:
    from study.running.ready import free_in
    from study.running.words import clock

    parts = ", ".join(
        f"{found.images[part]} {part}" for part in ("train", "validation", "test") if part in found.images
    )
    mixtures = f", then up to {study_file.mixtures} mixtures" if study_file.mixtures else ""
    early = ", unless they are stopped early" if study_file.scheduler.name != "none" else ""
    free = free_in(studies)
    lines = [
        f"would run: {study_file.baseline} ({study_file.size}), the λ=0 baseline and {found.trials} trials{mixtures}, "
        f"{found.at_a_time} at a time on this machine ({found.device})",
        f"images: {study_file.data}: {parts}",
        f"time: about {clock(found.seconds)}{early} (the baseline {clock(found.baseline_seconds)}, a trial "
        f"{clock(found.trial_seconds)}, of which {clock(found.record_seconds)} to attack and score it; "
        f"{found.step_seconds:.2g} s for a step of {found.batch_size} views)",
    ]
    if found.suite_seconds:
        lines.append(
            f"of this, the full suite (full_suite: {study_file.full_suite}) takes up to {clock(found.suite_seconds)}; "
            "what its black-box attacks are made on comes on top"
        )
    lines.append(f"disk: up to {found.bytes / 1e9:.2g} GB" + (f"; {free / 1e9:.3g} GB are free" if free else ""))
    if price is not None:
        lines.append(f"money: about {found.seconds / 3600 * price:.2f}, at {price:g} an hour")
    return [*lines, "nothing is missing, and nothing was started"]


def _remarks(asked: StudyFile, directory: StudyDirectory) -> list[str]:
    """What a user should hear before the first trial."""
    from study.storage.images import remarks_on
    from trainables.data.check import doubts

    split, rows = directory.read_study_file().split.mode, directory.read_split()
    remarks = remarks_on(directory.read_json("environment.json")["data"]["left_out"], rows)
    if split != asked.split.mode:
        remarks.append(
            f"{asked.data} does not come with the split {asked.split.mode!r} of the preset, so its images are divided "
            f"by {split!r}"
        )
    if found := doubts(rows, rows["raw_mos"]):
        helps = "more images or more epochs help"
        if asked.size == "small":
            helps = f"{helps}, and a network that has seen a million images: --preset laptop"
        remarks.append(f"{'; '.join(found)}: the models may learn nothing; {helps}")
    return remarks


def resume(
    name: StudyName,
    trials: Annotated[str | None, typer.Option(help="A new number of trials, or +N more.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try the failed points again.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Go on although code or study file have changed.")] = False,
    storage: Annotated[str | None, typer.Option(help="Its Optuna storage, where that was named elsewhere.")] = None,
    mlflow: MlflowOption = None,
    studies: StudiesOption = STUDIES,
    address: AddressOption = None,
) -> None:
    """Continue a study after Ctrl-C, a crash or a reboot; finished trials are kept, unfinished ones go on."""
    from study.storage.directory import find

    go_to(address)
    directory = find(studies, name)
    if storage is not None:
        _name_storage(directory, storage)
    if trials is not None:
        _ask_for_trials(directory, trials)
    if retry_failed:
        _ask_again(directory)
    _run_and_show(directory, mlflow, force=force)


def _run_and_show(directory: StudyDirectory, mlflow: str | None, *, force: bool = False) -> None:
    from study.commands.front import show_end
    from study.running.run import run

    finished = run(directory, progress_terminal(), mlflow, force=force)
    if not finished:
        remedy = directory.command("resume")
        print(f"\nstudy {directory.name!r} is not finished; continue it with: {remedy}")
        raise typer.Exit(130)
    show_end(directory, terminal())


def _range(name: str, text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    try:
        low, high = (number(part) for part in text.split(":"))
    except ValueError:
        raise StudyError(f"--{name} {text!r} is not a range; write LOW:HIGH, as in 1e-6:1e-3") from None
    return {"low": low, "high": high}


def _name_storage(directory: StudyDirectory, storage: str) -> None:
    """Have the study's storage count as the user's own. StudyError for another one: a search's memory stays."""
    from study.known import remember
    from trainables.files import whole_url
    from trainables.trust import without_secrets

    kept = directory.read_study_file().storage
    if kept is None or whole_url(storage) != kept:
        raise StudyError(
            f"study {directory.name!r} keeps its search in {kept or directory.search_place}, "
            f"not in {without_secrets(storage)}; it cannot be moved"
        )
    remember(kept)


def _ask_again(directory: StudyDirectory) -> None:
    from study.search.durable import retry_failed

    with directory.locked():
        study_file = directory.read_study_file()
        directory.write_study_file(study_file.model_copy(update={"trials": retry_failed(directory, study_file)}))
        directory.send()


def _ask_for_trials(directory: StudyDirectory, text: str) -> None:
    try:
        number = int(text)
    except ValueError:
        raise StudyError(f"--trials {text!r} is no number; write 24, or +12 for twelve more") from None
    directory.ask_for_trials(number, more=text.startswith("+"))
