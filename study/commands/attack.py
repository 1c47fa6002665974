"""`nt-study attack`: any model under any attacks, with the paper's metrics."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from trainables.data.image_set import ImageSet

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
    device: DeviceOption = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of the split and of everything random in attacks.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the score table to this Parquet file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Attack a model and print how far its scores move, and how well attacked scores still agree with MOS.

    uap and kor are made on small surrogates, trained on the data's training part unless surrogate=FOLDER_OR_FILE names
    one; uap:perturbation=FILE.png takes a published perturbation. Images that a trial or an export was made with keep
    the parts they had in its study, so that it is attacked on none that it was trained on.
    """
    from search_spaces.parameters import parse_attacks
    from study.export.opening import open_checkpoint
    from study.export.seen import seen_by
    from study.running.waiting import waiting
    from study.storage.images import remarks_on
    from trainables.data import open_dataset
    from trainables.devices import usable_device
    from trainables.evaluate import evaluate
    from trainables.files import default_cache_dir
    from trainables.objectives import measure
    from trainables.record import write_scores
    from trainables.suite import prepare_suite

    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)  # before hours of attacks have nowhere to go
    place = usable_device(device)
    chosen = parse_attacks(attacks, eps, seed)
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
        scores = evaluate(scorer, images.store, attacked, ready)
    if out is not None:
        write_scores(out, scores, {"checkpoint": str(checkpoint), "data": data})
    found = {label: measure(scores, part, attack=label) for label in scores["attack"].unique()}
    if as_json:
        print_json({"checkpoint": str(checkpoint), "data": data, "part": part, "attacks": found})
        return
    _print(found, f"{checkpoint} on {len(attacked)} {part} images of {data}")


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


def _print(found: dict[str, dict[str, float]], title: str) -> None:
    from rich.table import Table

    table = Table(
        title=title,
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
        values = [metrics[f"{name}_{role}"] for role in ("mos_attacked", "attacked") for name in METRICS]
        table.add_row(label, *(f"{value:.3f}" for value in values), f"{metrics['r_robustness']:.3f}")
    terminal().print(table)
