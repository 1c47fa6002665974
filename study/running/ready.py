"""Whether a study's trials could run, known before anything starts: files, weights, image sizes, room on the disk."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.schema import StudyFile
from study.errors import StudyError
from study.storage.directory import StudyDirectory, check_new
from study.storage.frozen import weights_of
from study.storage.mirror import mirror_of
from trainables.config import BASELINE
from trainables.data.check import smaller_than
from trainables.seeding import derive_seed

if TYPE_CHECKING:
    import pandas as pd

    from trainables.data.image_set import ImageSet
    from trainables.models.scorer import Scorer

CHECKPOINT = 3
"""A checkpoint's size as a multiple of the weights': these and an optimiser's two moments."""


@dataclass(frozen=True)
class Ready:
    """What a study would begin with."""

    study_file: StudyFile
    model: Scorer
    """As the baseline begins with it."""
    images: ImageSet
    rows: pd.DataFrame
    """Every image's part; `mos` as the data set gives it."""


def look_over(studies: Path, name: str, study_file: StudyFile, problems: list[str] | None = None) -> Ready | None:
    """Whether the study could run here, without making anything of it.

    With `problems`, each reason why not is added to it, and None is returned where too little is there to go on; else
    the first one is raised: StudyError, ValueError, OSError.
    """
    from trainables.attacks import check_suite, check_trial_attacks
    from trainables.data import check_labels, open_dataset
    from trainables.data.split import split_table

    model, images = None, None
    with _noted(problems):
        check_new(studies, name)
    with _noted(problems):
        study_file = study_file.with_typed_parameters()
        check_trial_attacks(study_file.attacks)
        check_attack_files(study_file)
        check_suite(study_file.attacks | study_file.suite)
    with _noted(problems):
        check_split(study_file, check_labels(study_file.data))
    with _noted(problems):
        model = first_model(study_file)
        check_room(study_file, model, studies)
    with _noted(problems):
        images = open_dataset(study_file.data, skip_unreadable=study_file.skip_unreadable)
        study_file = with_split(study_file, images.table)
        rows = split_table(
            images.table,
            seed=derive_seed(study_file.seed, "split"),
            fractions=study_file.split.fractions,
            mode=study_file.split.mode,
        )
        if model is not None:
            check_images(study_file, model, images, rows)
    with _noted(problems):
        from study.search.durable import check_storage  # Ray Tune takes seconds, which a refusal need not cost

        check_storage(StudyDirectory(studies / name), study_file)
    return None if problems or model is None or images is None else Ready(study_file, model, images, rows)


@contextlib.contextmanager
def _noted(problems: list[str] | None) -> Iterator[None]:
    """Add what goes wrong inside to `problems`, where somebody wants to hear of it all."""
    try:
        yield
    except (StudyError, ValueError, OSError) as error:
        if problems is None:
            raise
        problems.append(str(error))


def first_model(study_file: StudyFile) -> Scorer:
    """The model as the baseline begins with it. StudyError or ValueError when its weights cannot be had or used."""
    from trainables.models.imagenet import WeightsUnavailableError
    from trainables.trial import starting_model

    weights_of(study_file)
    try:
        return starting_model(study_file.trial_config(BASELINE, {}), None)
    except WeightsUnavailableError as error:
        raise StudyError(f"{error}, or train a network that starts without them: --size small") from None


def check_attack_files(study_file: StudyFile) -> None:
    """StudyError when a file or folder that an attack of the study file names is not there."""
    from trainables.attacks import PLACES

    for label, attack in (study_file.attacks | study_file.suite).items():
        for name in PLACES:
            place = attack.get(name)
            if isinstance(place, str) and not Path(place).exists():
                raise StudyError(f"there is no {place}, which attack {label!r} names as its {name}; put it there")


def check_split(study_file: StudyFile, labels: pd.DataFrame | None) -> None:
    """ValueError where the split that was asked for cannot be had, as far as the label files tell."""
    from trainables.data.split import require_split

    if labels is not None and study_file.split.required and study_file.split.mode is not None:
        require_split(labels, study_file.split.mode)


def with_split(study_file: StudyFile, table: pd.DataFrame) -> StudyFile:
    """The study file with a split that the data set has: one that is not required gives way to the set's own, or to
    `content`."""
    from trainables.data.split import comes_with

    split = study_file.split
    if split.required or split.mode is None or comes_with(table, split.mode):
        return study_file
    mode = "given" if comes_with(table, "given") else "content"
    return study_file.model_copy(update={"split": split.model_copy(update={"mode": mode, "required": True})})


def check_images(study_file: StudyFile, model: Scorer, images: ImageSet, rows: pd.DataFrame) -> None:
    """StudyError for images from which the model's views cannot be cut, and for parts that nothing can be said on.

    rows: every image's `index`, `image`, `split` and `mos`.
    """
    view, crop = model.input_spec, study_file.recipe.training_crop
    sizes = images.store.sizes
    if view.mode == "crop":
        _refuse_small(study_file, images.spec, smaller_than(rows, sizes, view.height, view.width), view.height)
    if crop is not None:
        training = rows[rows["split"] == "train"]
        _refuse_small(study_file, images.spec, smaller_than(training, sizes, crop, crop), crop)
    for part in ("train", "validation"):
        if rows.loc[rows["split"] == part, "mos"].nunique() < 2:
            raise StudyError(
                f"{images.spec}: all images of the {part} part have one score, so nothing can be learnt or measured "
                "there; add images with other scores, or deal them otherwise (--seed, --split)"
            )


def _refuse_small(study_file: StudyFile, spec: str, small: dict[str, tuple[int, int]], side: int) -> None:
    if not small:
        return
    name, (height, width) = next(iter(small.items()))
    others = f", as are {len(small) - 1} more" if len(small) > 1 else ""
    raise StudyError(
        f"{spec}: {name} is {height}x{width} pixels (height x width){others}, smaller than the {side}x{side} crops "
        f"that {study_file.baseline} ({study_file.size}) is trained and measured on; enlarge such images, or "
        "take them out of the label file"
    )


def check_room(study_file: StudyFile, model: Scorer, studies: Path) -> None:
    """StudyError when the disk has no room for what the trials keep; a bucket's is not known."""
    needed, free = bytes_needed(study_file, model), free_in(studies)
    if free is not None and free < needed:
        raise StudyError(
            f"{study_file.trials + 1} trials keep about {needed / 1e9:.1f} GB in {studies}, where {free / 1e9:.1f} GB "
            "are free; make room, choose another --studies or fewer --trials"
        )


def bytes_needed(study_file: StudyFile, model: Scorer) -> int:
    """What the trials of a study keep on the disk at most: everyone's weights, and checkpoints while they train."""
    weights = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    at_a_time = min(study_file.trials, study_file.max_concurrent or os.cpu_count() or 1)
    return weights * (study_file.trials + 1 + CHECKPOINT * at_a_time)


def free_in(studies: Path) -> int | None:
    """Bytes that are free where the studies are, or would be; None of a bucket."""
    if mirror_of(studies) is not None:
        return None
    return shutil.disk_usage(
        next(folder for folder in (studies.absolute(), *studies.absolute().parents) if folder.exists())
    ).free
