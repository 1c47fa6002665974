"""`nt-study export` and `nt-study score`."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from study.commands.options import STUDIES, DeviceOption, JsonOption, StudiesOption, StudyName, progress_terminal
from study.errors import StudyError

if TYPE_CHECKING:
    from study.storage.directory import StudyDirectory


class Format(StrEnum):
    """What an export can hold beside safetensors."""

    onnx = "onnx"


def export(
    name: StudyName,
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist.")],
    pick: Annotated[
        str | None,
        typer.Option(help="knee, most-accurate, most-robust, front, or a model's name.", show_default="knee"),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="BOUND",
            help='The best model that keeps a bound on validation, mixed where needed: "srocc>=0.70" or '
            '"rmse_attacked<=5".',
        ),
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="The model that 'nt-study refit' trained on validation images as well.")
    ] = False,
    format_: Annotated[list[Format] | None, typer.Option("--format", help="Write this format as well.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an export that is there already.")] = False,
    studies: StudiesOption = STUDIES,
) -> None:
    """Write a trained model to a folder: weights, configuration, metrics, scores and a model card."""
    from study.export.writing import export as export_models
    from study.running.waiting import waiting
    from study.storage.directory import find
    from study.suggest import command

    if at is not None and refit:
        raise StudyError("--at mixes models and measures them on validation images, on which a refit has trained")
    if at is not None and pick is not None:
        raise StudyError("--at and --pick both say which model to export; give one of them")
    directory = find(studies, name)
    if at is not None:
        pick = _dialled(directory, at)
    formats = [format_.value for format_ in format_ or []]
    with waiting(progress_terminal(stderr=True), "writing the model"):
        made = export_models(directory, pick or "knee", out, force=force, formats=formats, is_refit=refit)
    for folder in made:
        print(folder)
    print(f"score images with it: {command('score', made[-1])} IMAGE…")


def _dialled(directory: StudyDirectory, at: str) -> str:
    """The name of the model that `at` asks for, once it has been said what it reaches."""
    from study.mixing.dial import model_at

    console = progress_terminal(stderr=True)
    point = model_at(directory, at, console)
    objectives = directory.read_study_file().objectives
    reached = "; ".join(
        f"{split}: " + ", ".join(f"{name} {point.metrics(split)[name]:.3f}" for name in objectives)
        for split in ("validation", "test")
    )
    print(f"{point.trial} ({point.setting}) meets {at} on validation. {reached}", file=sys.stderr)
    return point.trial


def score(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that 'nt-study export' wrote.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…", help="Files, folders or glob patterns.")],
    out: Annotated[Path | None, typer.Option(help="File to write, .csv or .json; standard output by default.")] = None,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Score images with an exported model; higher is better. CSV, or JSON with --json.

    The scale is 0 to 100, from the worst to the best image that the model was trained on. It is no bound: scores of
    other images can lie outside, and those that do are flagged in the column "note". Equal pixels get equal scores,
    whatever the file is called.
    """
    from dataclasses import asdict

    from study.export.reading import score as score_images
    from study.running.waiting import waiting
    from trainables.trust import as_cell

    if out is not None:
        _check_writable(out)
    with waiting(progress_terminal(stderr=True), "scoring images"):
        scores = score_images(folder, images, device)
    if not scores:
        raise StudyError(f"no images in {', '.join(images)}; name image files, folders of them or a pattern")
    rows = [asdict(result) for result in scores]
    with _opened(out) as file:
        if as_json or (out is not None and out.suffix == ".json"):
            json.dump({"model": str(folder), "scores": rows}, file, indent=1, ensure_ascii=False)
            file.write("\n")
        else:
            writer = csv.DictWriter(file, fieldnames=["image", "score", "error", "note"], lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: as_cell(value) for name, value in row.items()} for row in rows)
    outside = [result for result in scores if result.note]
    if outside:
        print(
            f"nt-study: {len(outside)} of {len(scores)} scores are {outside[0].note}; read them as extrapolations",
            file=sys.stderr,
        )
    failed = sum(bool(result.error) for result in scores)
    if failed:
        print(f"nt-study: {failed} of {len(scores)} images could not be scored; the errors say why", file=sys.stderr)
        raise typer.Exit(1)


def _check_writable(out: Path) -> None:
    """Make the file's folder, before hours of scoring have nowhere to go, and refuse to write over a photograph."""
    from study.looking.written import prepare_file

    prepare_file(out, "scores.csv", lambda text: text.startswith((b"image,score,error,note", b'{\n "model": ')))


def _opened(out: Path | None) -> AbstractContextManager[TextIO]:
    if out is None:
        return contextlib.nullcontext(sys.stdout)
    try:
        return out.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise StudyError(f"cannot write {out}: {error.strerror}; choose another --out") from None
