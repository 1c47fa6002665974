"""`nt-study suite`, `nt-study audit`, `nt-study surrogate train`, `nt-study adversaries build`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, get_args

import typer

from study.commands.options import (
    STUDIES,
    AddressOption,
    JsonOption,
    StudiesOption,
    StudyName,
    go_to,
    print_json,
    progress_terminal,
)
from study.errors import StudyError
from trainables.config import Size

if TYPE_CHECKING:
    from study.storage.directory import StudyDirectory
    from trainables.audit import Flag

SURROGATE_NAMES = {"paq2piq": "paq2piq", "resnet50": "resnet50_substitute"}


def suite(
    name: StudyName,
    on: Annotated[str, typer.Option(help="Which trials, beside the baseline: reported, front or all.")] = "front",
    studies: StudiesOption = STUDIES,
    address: AddressOption = None,
) -> None:
    """Run the full attack suite on a study's finished trials, add it to their records, and audit the result."""
    from study.repeating.suite_tasks import Extent
    from study.running.run import run_suite_of
    from study.storage.directory import find

    go_to(address)
    extent = next((known for known in get_args(Extent) if known == on), None)
    if extent is None:
        raise StudyError(f"--on is one of {', '.join(get_args(Extent))}, not {on!r}")
    run_suite_of(find(studies, name), extent, progress_terminal())
    audit(name, studies, as_json=False)


def audit(
    name: StudyName,
    studies: StudiesOption = STUDIES,
    as_json: JsonOption = False,
) -> None:
    """Say of each finished trial whether its robustness is to be believed, or its gradients may be masked."""
    from study.repeating.suite_tasks import audit_study
    from study.storage.directory import find
    from study.storage.summaries import summarise

    directory = find(studies, name)
    trials = [trial for trial in summarise(directory) if trial.state == "complete"]
    if not trials:
        raise StudyError(f"study {name!r} has no finished trial to audit yet")
    found = audit_study(directory, trials)
    if as_json:
        flags = {trial: [flag.__dict__ for flag in doubts] for trial, doubts in found.items() if doubts}
        print_json({"study": name, "audited": list(found), "flags": flags})
        return
    print("\n".join(verdicts(found, len(trials), directory)))


def verdicts(found: dict[str, list[Flag]], finished: int, directory: StudyDirectory) -> list[str]:
    """The audit in words: every doubt, then how many of the `finished` trials it could judge."""
    if not found:
        has_suite = bool(directory.read_study_file().suite)
        remedy = f"run {directory.command('suite')}" if has_suite else "the study file names no attacks under 'suite'"
        return [f"nothing was audited, because no trial was attacked with the full suite: {remedy}"]
    lines = [f"{trial}: {flag.message}" for trial, doubts in found.items() for flag in doubts]
    fine = sum(not doubts for doubts in found.values())
    rest = finished - len(found)
    left = (
        f"; {rest} were not attacked with the full suite and not judged (run {directory.command('suite')})"
        if rest
        else ""
    )
    return [*lines, f"{fine} of {len(found)} audited trials give no reason to doubt their robustness{left}"]


def train(
    name: Annotated[str, typer.Argument(help="Which surrogate: paq2piq or resnet50.")],
    data: Annotated[str, typer.Option(help="Images, preferably not the study's: koniq10k:/path, photos, …")] = "photos",
    size: Annotated[str, typer.Option(help="small, mobile or paper.")] = "small",
    seed: Annotated[int, typer.Option(help="Seed of split and training.")] = 0,
) -> None:
    """Train a surrogate for black-box attacks on the training part of a data set; prints its folder."""
    from trainables.data import open_dataset
    from trainables.data.split import MosScale, split_table
    from trainables.files import default_cache_dir
    from trainables.seeding import derive_seed
    from trainables.surrogates import train_surrogate

    if name not in SURROGATE_NAMES:
        raise StudyError(f"there is no surrogate {name!r}; choose {' or '.join(SURROGATE_NAMES)}")
    chosen = next((known for known in get_args(Size) if known == size), None)
    if chosen is None:
        raise StudyError(f"unknown size {size!r}; choose one of {', '.join(get_args(Size))}")
    images = open_dataset(data)
    rows = split_table(images.table, seed=derive_seed(seed, "split"))
    rows = rows.assign(mos=MosScale.of_training(rows).normalise(rows["mos"].to_numpy()))
    surrogate = train_surrogate(
        SURROGATE_NAMES[name],
        images.store,
        rows[rows["split"] == "train"],
        cache_dir=default_cache_dir(),
        size=chosen,
        seed=seed,
        report=lambda row: print(f"epoch {row['epoch']}: loss {row['train_loss']:.3f}"),
    )
    print(f"{name} ({size}) with fingerprint {surrogate.fingerprint[:16]}; attack with surrogate={surrogate.place}")


def build(
    name: StudyName,
    studies: StudiesOption = STUDIES,
) -> None:
    """Make the black-box adversaries that a study's suite needs, so that attacking a trial costs one forward pass."""
    from study.repeating.suite_tasks import make_adversaries
    from study.running.waiting import waiting
    from study.storage.directory import find
    from trainables.config import BASELINE
    from trainables.files import default_cache_dir
    from trainables.record import SCORES

    directory = find(studies, name)
    if not (directory.trial(BASELINE) / SCORES).exists():
        raise StudyError(
            f"study {name!r} has no finished baseline yet; wait for it or run: {directory.command('resume')}"
        )
    directory.weights(BASELINE)
    with waiting(progress_terminal(stderr=True), "making surrogates and perturbations"):
        made = make_adversaries(directory)
    print(f"{', '.join(made) or 'nothing'}: ready in {default_cache_dir() / 'adversaries'}")
