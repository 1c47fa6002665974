"""`nt-study attack`: any model under any attacks, with the paper's metrics."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.commands.options import (
    SPLIT_HELP,
    DeviceOption,
    JsonOption,
    SwinScaleOption,
    print_json,
    progress_terminal,
    terminal,
)
from study.errors import StudyError

if TYPE_CHECKING:
    import pandas as pd

    from study.export.seen import Seen
    from trainables.attacks import Suite
    from trainables.data.image_set import ImageSet

UNAWARE = "these attacks do not know the defence, and an attacker may"
METRICS = ("rmse", "srocc", "plcc", "krocc")


def attack(
    checkpoint: Annotated[Path, typer.Argument(help="An exported folder, a trial's folder or published weights.")],
    data: Annotated[
        str | None, typer.Option(help="Images, such as livec:/path; by default those that the model says, or photos.")
    ] = None,
    attacks: Annotated[
        str, typer.Option(help="Attacks, separated by commas, with parameters as in ifgsm:steps=3:eps=8/255.")
    ] = "fgsm,ifgsm,noise",
    part: Annotated[str, typer.Option(help="Which part to attack: validation or test.")] = "test",
    split: Annotated[str | None, typer.Option(help=SPLIT_HELP)] = None,
    eps: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="Budget of attacks that have one, as in 8/255, in [0, 1] pixel units."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Which model published weights are of, where their keys do not say.")
    ] = None,
    swin_scale: SwinScaleOption = None,
    baseline: Annotated[Path | None, typer.Option(help="For transfer: the model to make its images on.")] = None,
    skip_unreadable: Annotated[bool, typer.Option("--skip-unreadable", help="Leave unreadable images out.")] = False,
    defence: Annotated[
        str | None,
        typer.Option(
            help="A defence to put before the model: jpeg, resize, crops, bit_depth, gaussian_smoothing or "
            "median_smoothing, with parameters as in jpeg:quality=60."
        ),
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(min=0, help="With median_smoothing: certify scores within this L2 distance, in [0, 1] pixels."),
    ] = None,
    device: DeviceOption = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of the split and of everything random in attacks.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the score table to this Parquet file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Attack a model and print how far its scores move, and how well attacked scores still agree with MOS.

    uap and kor are made on small surrogates, trained on the data's training part unless surrogate=FOLDER_OR_FILE names
    one; uap:perturbation=FILE.png takes a published perturbation. Images that a trial or an export was made with keep
    the parts they had in its study, so that it is attacked on none that it was trained on.

    With --defence attacks know the defence and go through it. What attacks do that do not know it is shown beside, and
    is no result: an attacker may know.
    """
    from search_spaces.parameters import parse_attacks, parse_wrapper
    from study.export.opening import open_checkpoint
    from study.export.seen import seen_by
    from study.running.waiting import waiting
    from study.storage.images import remarks_on
    from trainables.data import open_dataset
    from trainables.devices import usable_device
    from trainables.evaluate import evaluate
    from trainables.files import default_cache_dir
    from trainables.objectives import measure, worst_case
    from trainables.record import write_scores
    from trainables.suite import prepare_suite
    from trainables.wrappers.base import DefendedScorer
    from trainables.wrappers.certificate import certified
    from trainables.wrappers.smoothing import MedianSmoothing

    if out is not None:  # before hours of attacks have nowhere to go
        _check_table(out)
    place = usable_device(device)
    chosen = parse_attacks(attacks, eps, seed)
    wrapper = None if defence is None else parse_wrapper(defence)
    if radius is not None and not isinstance(wrapper, MedianSmoothing):
        raise StudyError("--radius is for a defence with a certificate; add --defence median_smoothing")
    scorer = open_checkpoint(checkpoint, model, swin_scale).to(place)
    seen = seen_by(checkpoint)
    data = data or (seen.data if seen is not None else "photos")
    images = open_dataset(data, skip_unreadable=skip_unreadable)
    rows = _divided(images, seen, split, seed)
    for remark in remarks_on(images.left_out, rows):
        print(f"nt-study: {remark}", file=sys.stderr)
    attacked = rows[rows["split"] == part]
    if part == "train" or attacked.empty:
        raise StudyError(f"{data} has no {part!r} part to attack; use validation or test")
    with waiting(progress_terminal(stderr=True), f"attacking {len(attacked)} images with {', '.join(chosen)}"):
        ready = prepare_suite(
            chosen,
            images.store,
            rows[rows["split"].isin(("train", part))],
            None if baseline is None else open_checkpoint(baseline).to(place),
            size="small",
            cache_dir=default_cache_dir(),
            device=place,
        )
        unaware, bounds = None, None
        if wrapper is None:
            scores = evaluate(scorer, images.store, attacked, ready)
        else:
            behind = DefendedScorer(scorer, wrapper)
            scores = evaluate(behind, images.store, attacked, ready, seen=behind.with_other_draws())
            unaware = evaluate(behind, images.store, attacked, ready, seen=scorer)
        if radius is not None and isinstance(wrapper, MedianSmoothing):
            bounds = certified(scorer, wrapper, images.store, attacked, radius)
    if out is not None:
        about = {"checkpoint": str(checkpoint), "data": data, **({"defence": defence} if defence else {})}
        write_scores(out, scores, about)
    found = {label: measure(scores, part, attack=label) for label in scores["attack"].unique()}
    not_aware = None if unaware is None else {label: measure(unaware, part, attack=label) for label in found}
    worst, integral = worst_case(scores, part), _integral(chosen, found)
    if as_json:
        facts: dict[str, Any] = {"checkpoint": str(checkpoint), "data": data, "part": part, "attacks": found}
        facts |= {"worst": worst.__dict__, "integral_robustness": integral}
        if wrapper is not None:
            facts |= {"defence": defence, "no_result": {"why": UNAWARE, "attacks": not_aware}}
        if bounds is not None:
            facts["certificate"] = bounds.to_dict()
        print_json(facts)
        return
    before = f"{checkpoint} behind {defence}" if defence else str(checkpoint)
    _print(found, not_aware, f"{before} on {len(attacked)} {part} images of {data}")
    print(worst)
    for labels, value in integral.items():
        print(f"integral robustness over the budgets of {labels}: R {value:.3f}")
    if bounds is not None:
        print(bounds.describe())


def _check_table(out: Path) -> None:
    """Make the table's folder. StudyError where another file, as a trial's own record, would be lost."""
    from study.looking.written import prepare_file
    from trainables.record import read_metadata

    def is_ours(_: bytes) -> bool:
        try:
            return "checkpoint" in read_metadata(out)
        except ValueError:
            return False

    prepare_file(out, "scores.parquet", is_ours)


def _divided(images: ImageSet, seen: Seen | None, split: str | None, seed: int) -> pd.DataFrame:
    """Every image's part and MOS on 0..100: those of the model's own study, where these are its images."""
    from trainables.data.split import MosScale, locate, split_table
    from trainables.seeding import derive_seed

    known = images.table["sha256"].isin(seen.split["sha256"] if seen is not None else [])
    if seen is None or not known.any():
        seed = derive_seed(seed, "split")  # as a study with this seed would
        rows = split_table(images.table, seed=seed, mode=split)  # type: ignore[arg-type]  # it names the modes itself
        return rows.assign(mos=MosScale.of_training(rows).normalise(rows["mos"].to_numpy()))
    if not known.all():
        raise StudyError(
            f"{int(known.sum())} images of {images.spec} are of the study that the model is from and "
            f"{int((~known).sum())} are not; attack it on the ones or on the others"
        )
    if split is not None:
        raise StudyError(f"the model's study has split {images.spec} already; drop --split")
    return locate(seen.split[seen.split["sha256"].isin(images.table["sha256"])], images.table, spec=images.spec)


def _integral(chosen: Suite, found: dict[str, dict[str, float]]) -> dict[str, float]:
    """R averaged over the budgets of attacks that differ in `eps` alone: their labels -> the average."""
    from analysis.attack_series import series_over
    from trainables.metrics import integral_robustness

    return {
        ", ".join(labels): integral_robustness(
            [float(chosen[label]["eps"]) for label in labels], [found[label]["robustness_score"] for label in labels]
        )
        for labels in series_over(chosen, "eps")
    }


def _print(found: dict[str, dict[str, float]], unaware: dict[str, dict[str, float]] | None, title: str) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title),  # names of files may hold brackets, which are no markup
        box=None,
        title_justify="left",
        caption="attacked scores against MOS and against clean scores; of the unrounded attacked images",
    )
    # Three short lines, so that eighty columns are enough.
    columns = ("attack", *(f"{name}\nto\n{role}" for role in ("MOS", "clean") for name in METRICS), "R")
    for column in columns:
        table.add_column(column, justify="left" if column == "attack" else "right", no_wrap=True)
    clean = next(iter(found.values()))
    table.add_row("none", *(f"{clean[name]:.3f}" for name in METRICS), *("–" for _ in METRICS), "–")
    for label, metrics in found.items():
        table.add_row(*_cells(label, metrics))
    for label, metrics in (unaware or {}).items():
        table.add_row(*_cells(f"({label})", metrics), style="dim")
    if unaware is not None:
        table.caption = f"{table.caption}; in brackets no results: {UNAWARE}"
    terminal().print(table)


def _cells(label: str, metrics: dict[str, float]) -> list[str]:
    from rich.markup import escape

    values = [metrics[f"{name}_{role}"] for role in ("mos_attacked", "attacked") for name in METRICS]
    return [escape(label), *(f"{value:.3f}" for value in [*values, metrics["r_robustness"]])]
