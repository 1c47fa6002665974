"""`nt-study attack`: any model under any attacks, with the paper's metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.commands.options import JsonOption, print_json
from study.errors import StudyError

if TYPE_CHECKING:
    from trainables.models.scorer import Scorer

METRICS = ("rmse", "srocc", "plcc", "krocc")


def attack(
    checkpoint: Annotated[Path, typer.Argument(help="An exported folder, a trial's folder or published weights.")],
    data: Annotated[str, typer.Option(help="Images: photos, livec:/path, csv:/path/manifest.csv, …")] = "photos",
    attacks: Annotated[str, typer.Option(help="Names of attacks, separated by commas.")] = "fgsm,ifgsm,noise",
    split: Annotated[str, typer.Option(help="Which part to attack: validation or test.")] = "test",
    eps: Annotated[float | None, typer.Option(help="Budget of attacks that have one, in [0, 1] pixel units.")] = None,
    model: Annotated[str | None, typer.Option(help="For published weights: which model they are of.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split and of everything random in attacks.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the score table to this Parquet file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Attack a model and print how far its scores move: MOS against clean and attacked, before against after."""
    from trainables.attacks import create_attack
    from trainables.data import open_dataset
    from trainables.data.split import MosScale, split_table
    from trainables.evaluate import evaluate
    from trainables.objectives import measure
    from trainables.record import write_scores

    labels = [label.strip() for label in attacks.split(",") if label.strip()]
    chosen = {label: create_attack(label, **_budget(label, eps)) for label in labels}
    scorer = _open(checkpoint, model)
    images = open_dataset(data)
    rows = split_table(images.table, seed=seed)
    rows = rows.assign(mos=MosScale.of_training(rows).normalise(rows["mos"].to_numpy()))
    rows = rows[rows["split"] == split]
    if rows.empty:
        raise StudyError(f"{data} has no {split!r} part; use validation or test")
    scores = evaluate(scorer, images.store, rows, chosen, seed=seed)
    if out is not None:
        write_scores(out, scores, {"checkpoint": str(checkpoint), "data": data})
    found = {label: measure(scores, split, attack=label) for label in chosen}
    if as_json:
        print_json({"checkpoint": str(checkpoint), "data": data, "split": split, "attacks": found})
        return
    _print(found, f"{checkpoint} on {len(rows)} {split} images of {data}")


def _budget(label: str, eps: float | None) -> dict[str, Any]:
    return {} if eps is None else {"eps": eps}


def _open(checkpoint: Path, model: str | None) -> Scorer:
    """The model that a checkpoint stands for."""
    from study.suite import read_config
    from trainables.models.published import load_published
    from trainables.record import SCORES
    from trainables.suite import load_trial_model

    if not checkpoint.exists():
        raise StudyError(f"there is no checkpoint {checkpoint}")
    if checkpoint.is_file():
        if model is None:
            raise StudyError(f"say which model {checkpoint} holds weights of, as in --model hyperiqa")
        return load_published(checkpoint, model)
    if (checkpoint / SCORES).exists() and (checkpoint / "epochs.jsonl").exists():
        return load_trial_model(read_config(checkpoint), checkpoint)
    from study.exported import load_exported

    return load_exported(checkpoint)


def _print(found: dict[str, dict[str, float]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=None, title_justify="left", caption="scores of the unrounded attacked images")
    columns = ("attack", *(f"{name}\n{role}" for role in ("MOS, after", "before, after") for name in METRICS), "R")
    for column in columns:
        table.add_column(column, justify="left" if column == "attack" else "right")
    clean = next(iter(found.values()))
    table.add_row("none", *(f"{clean[name]:.3f}" for name in METRICS), *("–" for _ in METRICS), "–")
    for label, metrics in found.items():
        values = [metrics[f"{name}_{role}"] for role in ("mos_attacked", "attacked") for name in METRICS]
        table.add_row(label, *(f"{value:.3f}" for value in values), f"{metrics['r_robustness']:.3f}")
    Console().print(table)
