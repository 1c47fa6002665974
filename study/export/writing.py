"""Exporting a study's models: folders that rebuild a model and say what it is, written whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.figures.pareto import pareto_png
from analysis.front import SPLITS, Front, TrialPoint, finite_or_none
from search_spaces.schema import did_you_mean
from study.errors import StudyError
from study.export.model_card import model_card
from study.export.reading import CONFIG, FORMAT, VERSION, load_exported, read_config
from study.export.seen import SPLIT
from study.looking.front_files import front_of
from study.repeating.refit import refit_metrics, refitted
from study.repeating.suite_tasks import attacks_of, read_trial_config
from study.storage.directory import StudyDirectory
from study.storage.whole import others_file
from trainables.config import TrialConfig, trial_config_from_dict
from trainables.models.scorer import Scorer
from trainables.record import SCORES, WEIGHTS, check_weights
from trainables.suite import load_trial_model
from trainables.trust import read_regular

PICKS = ("knee", "most-accurate", "most-robust", "front")
PICTURE = "front.png"
ENVIRONMENT = "environment.json"
FILES = (CONFIG, "metrics.json", "README.md", PICTURE, SPLIT, WEIGHTS, SCORES, "model.onnx")
"""All that an export's folder can hold."""


def export(
    directory: StudyDirectory,
    pick: str,
    out: Path,
    *,
    force: bool = False,
    formats: Sequence[str] = (),
    is_refit: bool = False,
) -> list[Path]:
    """Write the picked trial's model to the folder `out`, or, for `front`, each member's to a folder inside it.

    pick: one of `PICKS` or a trial's name. is_refit: in the form that was trained on validation images as well. Returns
    the folders, one per model. Repeated, it writes the same bytes.
    An existing `out` is replaced with `force` only, and only if it is an export or empty. Raises StudyError for an
    unknown pick, for a trial without a model and for an `out` that is in the way; ValueError while there is no front.
    """
    front = front_of(directory)
    points = pick_points(front, pick)
    _check_out(out, force)
    inner = [point.trial for point in points] if pick == "front" else [""]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            whole = Path(scratch) / "whole"
            for name, point in zip(inner, points, strict=True):
                write_model(whole / name, directory, front, point, formats, is_refit=is_refit)
            if out.exists():
                out.rename(Path(scratch) / "before")
            whole.rename(out)
    except OSError as error:
        raise StudyError(f"cannot write {out}: {error.strerror or error}; choose another --out") from error
    return [out / name for name in inner]


def pick_points(front: Front, pick: str) -> list[TrialPoint]:
    """The finished trials that a pick stands for. StudyError, with the nearest name, for an unknown one."""
    named = {
        "knee": [front.knee],
        "most-accurate": [front.most_accurate],
        "most-robust": [front.most_robust],
        "front": list(front.members),
        **{point.trial: [point] for point in front.points},
    }
    if pick not in named:
        raise StudyError(
            f"study {front.study!r} has no finished trial {pick!r}{did_you_mean(pick, named)}; "
            f"pick one of {', '.join(PICKS)}, or a trial: {', '.join(point.trial for point in front.points)}"
        )
    return named[pick]


def write_model(
    folder: Path,
    directory: StudyDirectory,
    front: Front,
    point: TrialPoint,
    formats: Sequence[str] = (),
    *,
    is_refit: bool = False,
) -> None:
    """Fill a new folder with one trial's model, metrics, scores, split and card."""
    place = refitted(directory, point.trial) if is_refit else directory
    measured = {of.trial: _refit_of(directory, of) if is_refit else of for of in (point, front.baseline) if of}
    folder.mkdir(parents=True)
    for source in (place.weights(point.trial), place.trial(point.trial) / SCORES):
        if not source.exists():
            raise StudyError(f"trial {point.trial} of study {front.study!r} has no {source.name}; pick another trial")
        try:
            content = read_regular(source, inside=place.path)
        except OSError as error:
            raise StudyError(f"{source} cannot be exported: {error.strerror}") from None
        (folder / source.name).write_bytes(content)
    check_weights(place.trial(point.trial))  # which names the file there, not the copy here
    load_trial_model(read_trial_config(place.trial(point.trial)), folder)  # what is damaged is not handed on
    place.read_split().to_parquet(folder / SPLIT, index=False)
    config = {**model_config(place, point), "study": directory.name}
    _write_json(folder / CONFIG, config)
    _write_json(folder / "metrics.json", _metrics(front, point, measured))
    (folder / PICTURE).write_bytes(pareto_png(front))
    study_file = directory.read_study_file()
    known = study_file.attacks | study_file.suite
    attacks = {label: known.get(label, {"name": label}) for label in attacks_of(place.trial(point.trial))}
    (folder / "README.md").write_text(model_card(config, front, point, attacks, formats, measured), encoding="utf-8")
    if "onnx" in formats:
        from study.export.onnx import write_onnx

        write_onnx(load_exported(folder), folder)


def model_config(directory: StudyDirectory, point: TrialPoint) -> dict[str, Any]:
    """Everything needed to rebuild the model and to feed it, and what it was trained on and with."""
    trial = trial_config_from_dict(directory.read_json(f"trials/{point.trial}/config.json"))
    environment = environment_of(directory)
    weights = directory.weights(point.trial).read_bytes()
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": trial.model,
        "size": trial.size,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "seed": trial.seed,
        **_input_and_output(trial),
        "study": directory.name,
        "trial": trial.to_dict(),
        "data": environment["data"],
        "versions": environment["versions"],
        "code": environment["code"],
    }


def environment_of(directory: StudyDirectory) -> dict[str, Any]:
    """What the study was trained on and with. StudyError where its file does not say so."""
    environment = directory.read_json(ENVIRONMENT)
    data = environment.get("data")
    said = data if isinstance(data, dict) else {}
    counts = said.get("images")
    if not (
        {"versions", "code"} <= environment.keys()
        and all(isinstance(said.get(name), str) for name in ("spec", "fingerprint", "score_kind"))
        and isinstance(counts, dict)
        and all(isinstance(count, int) for count in counts.values())
    ):
        raise StudyError(
            f"{directory.path / ENVIRONMENT} does not say what the study was trained on; bring it back from a copy"
        )
    return environment


def _input_and_output(trial: TrialConfig) -> dict[str, Any]:
    from trainables.models import create_model

    model: Scorer = create_model(trial.model, size=trial.size)
    view = model.input_spec
    return {
        "input": {
            "colour": "RGB",
            "range": [0, 1],
            "height": view.height,
            "width": view.width,
            "mode": view.mode,
            "crops": view.crops,
            "views": trial.views,
            "mean": [round(float(value), 6) for value in model.mean.flatten()],
            "std": [round(float(value), 6) for value in model.std.flatten()],
        },
        "output": {"scale": [0, 100], "better": "higher"},
    }


def _refit_of(directory: StudyDirectory, point: TrialPoint) -> TrialPoint:
    """A trial as its refit was measured: on test images alone."""
    return dataclasses.replace(point, validation={}, test=refit_metrics(directory, point.trial))


def _metrics(front: Front, point: TrialPoint, measured: Mapping[str, TrialPoint]) -> dict[str, Any]:
    content: dict[str, Any] = {"objectives": list(front.objectives)}
    for name, of in (("model", point), ("baseline", front.baseline)):
        if of is not None:
            found = {split: finite_or_none(measured[of.trial].metrics(split)) for split in SPLITS}
            content[name] = {"trial": of.trial, **{split: values for split, values in found.items() if values}}
    return content


def _check_out(out: Path, force: bool) -> None:
    if not out.exists():
        return
    if not force:
        raise StudyError(f"{out} exists already; choose another --out or replace it with --force")
    if not out.is_dir() or (any(out.iterdir()) and not _is_export(out)):
        raise StudyError(f"{out} exists and is no export, so it is not replaced; choose another --out")
    if other := others_file(out, (*FILES, *(f"*/{name}" for name in FILES))):
        raise StudyError(f"{other} is no file of an export, so {out} is not replaced; move it away first")


def _is_export(folder: Path) -> bool:
    models = [folder] if (folder / CONFIG).exists() else sorted(folder.iterdir())
    try:
        return bool([read_config(model) for model in models])
    except ValueError:
        return False


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
