"""The evaluation protocol: a model's scores of clean and attacked images, one row per image and attack.

Settled here and nowhere else (supplement S4, Table S1, the authors' released demo):
- A model scores views of an image (`views.py`); the image's score is their mean, clean and attacked alike.
- The same stored views are scored clean and attacked. An attack sees each view by itself: L_mid's direction comes from
  the view's own clean score. Ready-made adversaries are whole images, cut into views at the same places.
- Two attacked scores: of the float image (the paper's tables), and of the image rounded to 8 bits as a file holds it.
- The clean forward pass and its input gradient are computed once and shared by all white-box attacks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.attacks.again import Again
from trainables.attacks.base import Attack, CleanPass, clean_pass, undisturbed
from trainables.attacks.constraint import round_to_8_bit
from trainables.config import Precision
from trainables.memory import fitting_batch_size
from trainables.models.scorer import Scorer
from trainables.objectives import DEFAULT_ATTACK, measure
from trainables.precision import DEFAULT, computing_in, scoring
from trainables.record import CONTROL, SCHEMA
from trainables.ssim import ssim
from trainables.views import Images, image_views

Numbers = NDArray[np.float64]
Positions = NDArray[np.int64]
Columns = dict[str, Numbers]

BATCH_SIZE = 64
CARD_BATCH_SIZE = 256
"""Views at a time on a CPU and on a CUDA card, which at 64 does two thirds of what it can (HyperIQA, H100)."""

ROW_COLUMNS = ("index", "image", "content", "split", "mos")


def evaluate(
    model: Scorer,
    images: Images,
    rows: pd.DataFrame,
    attacks: Mapping[str, Attack | Images],
    *,
    batch_size: int | None = None,
    precision: Precision = DEFAULT,
    seen: Scorer | None = None,
) -> pd.DataFrame:
    """The score table (`record.SCHEMA`) of `rows` under each attack; images in the order of `rows`, attack by attack.

    images: `images[i]` is (H, W, 3) uint8. rows: `index` (position in `images`), `image`, `content`, `split`, `mos`
    (0..100). attacks: label -> an attack, or ready-made adversaries by the same positions. batch_size: views at a
    time, fewer where memory asks for it (`memory.py`). precision: of the attacks' own passes; scores and the clean
    gradient are computed in `precision.scoring` of it. An attack's control, where it has one, is recorded too, as
    `<label>_control`. Of an attack in both directions an image's row is that of the direction which moves the image's
    score further, whatever its views do by themselves; an attack on a set's ranking has the images of a split for its
    set. seen: what attacks are shown in `model`'s place, such as the
    same model without a defence before it.

    Scores in evaluation mode; afterwards the model's mode, parameters, `.grad` and BatchNorm statistics are as before.
    Raises ValueError for rows without a column, no attacks, scores that are not finite.
    """
    controls = {label + CONTROL: attack.control for label, attack in attacks.items() if isinstance(attack, Attack)}
    controlled = {**attacks, **{label: control for label, control in controls.items() if control}}
    return _score_table(model, images, rows, controlled, batch_size, precision, thorough=True, seen=seen)


def probe(
    model: Scorer,
    images: Images,
    rows: pd.DataFrame,
    attack: Attack,
    *,
    batch_size: int | None = None,
    precision: Precision = DEFAULT,
) -> dict[str, float]:
    """The metrics (`objectives.measure`) of `rows`, all of one split, under one attack: cheap enough for every epoch.

    Leaves out the 8-bit score and SSIM.
    """
    table = _score_table(model, images, rows, {DEFAULT_ATTACK: attack}, batch_size, precision, thorough=False)
    return measure(table, str(table["split"].iloc[0]))


def clean_scores(model: Scorer, images: Images, rows: pd.DataFrame, *, batch_size: int | None = None) -> Numbers:
    """(len(rows),) clean scores of `rows` (`index` and `image` are read), by a forward pass alone."""
    parts, owners = [], []
    with undisturbed(model), torch.no_grad():
        batch_size = _views_at_a_time(model, batch_size)
        for batch in _batches(model, images, rows, batch_size):
            parts.append(_finite(model(batch.images), "clean scores"))
            owners.append(batch.owners)
    return _mean_over_views(np.concatenate(owners), np.concatenate(parts), len(rows))


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Views of images, in the order of the rows; an image's views may spread over two batches."""

    images: Tensor
    """(B, 3, H, W) float in [0, 1] on the model's device."""
    owners: Positions
    """(B,) which row each view belongs to."""


def _score_table(
    model: Scorer,
    images: Images,
    rows: pd.DataFrame,
    attacks: Mapping[str, Attack | Images],
    batch_size: int | None,
    precision: Precision,
    *,
    thorough: bool,
    seen: Scorer | None = None,
) -> pd.DataFrame:
    _check_request(rows, attacks)
    mos = rows["mos"].to_numpy(np.float64)
    owners: list[Positions] = []
    of_clean: list[Columns] = []
    of_attack: dict[str, dict[int, list[Columns]]] = {label: {} for label in attacks}
    with undisturbed(model), computing_in(scoring(precision), model):
        batch_size = _views_at_a_time(model, batch_size)
        replays = {
            label: _batches(model, attack, rows, batch_size)
            for label, attack in attacks.items()
            if not isinstance(attack, Attack)
        }
        for batch in _batches(model, images, rows, batch_size):
            clean = clean_pass(model, batch.images)
            owners.append(batch.owners)
            of_clean.append(
                {
                    "clean_score": _finite(clean.score, "clean scores"),
                    "gradient_l1": _numbers(clean.gradient.flatten(1).abs().sum(1)),
                }
            )
            labels = torch.from_numpy(mos[batch.owners]).to(clean.score)
            shown, of_shown = (model, clean) if seen is None else (seen, _clean_pass_of(seen, batch.images))
            for label, attack in attacks.items():
                started = _now(batch.images)
                candidates: Iterable[Tensor]
                if isinstance(attack, Attack):
                    with computing_in(precision, shown):
                        candidates = attack.candidates(shown, batch.images, clean=of_shown, mos=labels)
                else:
                    candidates = [next(replays[label]).images]
                seconds = _now(batch.images) - started
                again = isinstance(attack, Again)
                for candidate, adversarial in enumerate(candidates):
                    columns = _compare(
                        model, batch.images, clean, adversarial, seconds, asks_again=again, thorough=thorough
                    )
                    of_attack[label].setdefault(candidate, []).append(columns)
    return _assemble(rows, np.concatenate(owners), of_clean, of_attack, attacks)


def _clean_pass_of(seen: Scorer, images: Tensor) -> CleanPass:
    with undisturbed(seen):
        return clean_pass(seen, images)


def _compare(
    model: Scorer,
    images: Tensor,
    clean: CleanPass,
    adversarial: Tensor,
    seconds: float,
    *,
    asks_again: bool,
    thorough: bool,
) -> Columns:
    """What the record says about each view of a batch under one attack."""
    found = {
        "max_delta": _numbers((adversarial - images).abs().flatten(1).amax(1)),
        "seconds": np.full(len(images), seconds / len(images)),
        "linear_change": _numbers((clean.gradient * (adversarial - images)).flatten(1).sum(1)),
    }
    with torch.no_grad():
        is_known = torch.equal(adversarial, images) and not asks_again
        score = clean.score if is_known else model(adversarial)
        found["attacked_score"] = _finite(score, "attacked scores")
        if thorough:
            rounded = round_to_8_bit(adversarial)
            is_8_bit = torch.allclose(rounded, adversarial, rtol=0, atol=1e-6)
            found["attacked_score_8bit"] = _finite(score if is_8_bit else model(rounded), "8-bit scores")
            found["ssim"] = _numbers(ssim(images, adversarial))
            found["psnr"] = _numbers(-10 * (adversarial - images).square().flatten(1).mean(1).log10())
    return found


def _assemble(
    rows: pd.DataFrame,
    owners: Positions,
    of_clean: list[Columns],
    of_attack: dict[str, dict[int, list[Columns]]],
    attacks: Mapping[str, Attack | Images],
) -> pd.DataFrame:
    """Views to images, candidates to the one that the attack chooses, columns to one table."""
    clean = _per_image(owners, of_clean, len(rows))
    described = rows[["image", "content", "split", "mos"]].reset_index(drop=True)
    parts = []
    for label, candidates in of_attack.items():
        columns: dict[str, Any] = {"attack": label, **dict.fromkeys(("attacked_score_8bit", "ssim", "psnr"), np.nan)}
        found = [_per_image(owners, batches, len(rows)) for batches in candidates.values()]
        attacked = _chosen(attacks[label], described, clean["clean_score"], found)
        parts.append(described.assign(**(columns | clean | attacked)))
    table = pd.concat(parts, ignore_index=True)
    return table[SCHEMA.names].astype(dict.fromkeys(("image", "content", "split", "attack"), str) | {"mos": np.float64})


def _chosen(attack: Attack | Images, rows: pd.DataFrame, clean_score: Numbers, found: list[Columns]) -> Columns:
    """Each image's columns under the candidate that the attack chooses, where the images of a split are one set."""
    if not isinstance(attack, Attack) or len(found) == 1:
        return found[0]
    scores, mos = np.stack([columns["attacked_score"] for columns in found]), rows["mos"].to_numpy(np.float64)
    candidate = np.zeros(len(rows), dtype=np.int64)
    for members in rows.groupby("split").indices.values():
        candidate[members] = attack.choose(clean_score[members], scores[:, members], mos[members])
    return {name: np.stack([columns[name] for columns in found])[candidate, np.arange(len(rows))] for name in found[0]}


def _per_image(owners: Positions, batches: list[Columns], num_images: int) -> Columns:
    found: Columns = {}
    for name in batches[0]:
        views = np.concatenate([batch[name] for batch in batches])
        if name == "max_delta":
            found[name] = np.zeros(num_images)
            np.maximum.at(found[name], owners, views)
        elif name == "seconds":
            found[name] = np.bincount(owners, views, num_images).astype(np.float64)
        else:
            found[name] = _mean_over_views(owners, views, num_images)
    return found


def _mean_over_views(owners: Positions, values: Numbers, num_images: int) -> Numbers:
    return np.bincount(owners, values, num_images) / np.bincount(owners, minlength=num_images)


def _views_at_a_time(model: Scorer, batch_size: int | None) -> int:
    at_most = batch_size or (CARD_BATCH_SIZE if model.mean.is_cuda else BATCH_SIZE)
    return fitting_batch_size(model, model.input_spec.height, model.input_spec.width, at_most=at_most)


def _batches(model: Scorer, images: Images, rows: pd.DataFrame, batch_size: int) -> Iterator[_Batch]:
    views: list[Tensor] = []
    owners: list[int] = []
    for owner, (index, image) in enumerate(zip(rows["index"], rows["image"], strict=True)):
        for view in image_views(images[int(index)], model.input_spec, image=str(image)):
            views.append(view)
            owners.append(owner)
            if len(views) == batch_size:
                yield _batch(model, views, owners)
                views, owners = [], []
    if views:
        yield _batch(model, views, owners)


def _batch(model: Scorer, views: list[Tensor], owners: list[int]) -> _Batch:
    return _Batch(images=torch.stack(views).to(model.mean.device).float() / 255, owners=np.array(owners))


def _check_request(rows: pd.DataFrame, attacks: Mapping[str, Attack | Images]) -> None:
    missing = [name for name in ROW_COLUMNS if name not in rows.columns]
    if missing:
        raise ValueError(f"the rows to evaluate lack {', '.join(missing)}; they need {', '.join(ROW_COLUMNS)}")
    if len(rows) == 0:
        raise ValueError("there are no images to evaluate")
    if not attacks:
        raise ValueError("name at least one attack to evaluate; without one there is nothing to compare")


def _finite(scores: Tensor, what: str) -> Numbers:
    numbers = _numbers(scores)
    if not np.isfinite(numbers).all():
        raise ValueError(
            f"the model's {what} are NaN or infinite; its training has diverged or its weights are damaged"
        )
    return numbers


def _numbers(tensor: Tensor) -> Numbers:
    return tensor.detach().cpu().numpy().astype(np.float64)


def _now(images: Tensor) -> float:
    """Seconds; on a GPU after all that was asked of it so far."""
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return time.perf_counter()
