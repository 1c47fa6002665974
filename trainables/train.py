"""Training of one model: L_IQA + λ · the defence's term (paper Eq. 7), epoch by epoch, resumable after any of them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.config import Recipe, Stage, TrialConfig
from trainables.cuda_graph import RecordedStep, Step, clear_state, record_step
from trainables.data.batches import to_unit_range, training_batches
from trainables.data.prefetch import prefetched
from trainables.data.store import ImageStore
from trainables.defences import defence_of
from trainables.defences.base import Batch, Defence, NoDefence
from trainables.evaluate import clean_scores
from trainables.losses import create_loss
from trainables.models.scorer import Scorer
from trainables.precision import computed, computing_in
from trainables.seeding import derive_seed


class DivergedError(RuntimeError):
    """The training loss became NaN or infinite."""


def check_batch_size(model: Scorer, recipe: Recipe) -> None:
    """ValueError where a stage takes one view at a time and a layer or the loss compares the views of a batch."""
    alone = [stage.name for stage in recipe.stages if stage.batch_size == 1]
    if not alone:
        return
    layer = next((name for name, part in model.named_modules() if isinstance(part, _BatchNorm)), None)
    if layer is not None or recipe.loss == "norm_in_norm":
        reason = (
            f"layer {layer!r} takes statistics of a batch" if layer else "the loss norm_in_norm compares its images"
        )
        raise ValueError(f"stage {alone[0]!r}: batch_size 1 cannot train this model, because {reason}; use at least 2")


class Training:
    """The state of one trial's training.

    `rows` are the training images (`index` into `images`, `mos` on 0..100). All randomness of an epoch derives from
    (seed, epoch), so an epoch repeated after a restart is the same epoch.
    """

    def __init__(
        self, model: Scorer, config: TrialConfig, images: ImageStore, rows: pd.DataFrame, device: torch.device
    ) -> None:
        # Convolutions over channels-last tensors: a small HyperIQA's step takes about 0.8 of the time on a CPU.
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.config = config
        self.images = images
        self.rows = rows
        self.device = device
        self.loss = create_loss(config.recipe.loss, **config.recipe.loss_params)
        self.defence = defence_of(config)
        self.defence_every = config.recipe.defence_every if config.lam > 0 else 1
        check_batch_size(model, config.recipe)
        self.epoch = 0
        self._optimizer: torch.optim.Optimizer | None = None
        self._records = config.recipe.graphs and device.type == "cuda"
        self._recorded: list[RecordedStep] = []

    @property
    def finished(self) -> bool:
        return self.epoch >= self.config.epochs

    @property
    def starts_from_best(self) -> bool:
        """Whether the next epoch is a later stage's first, and begins from the best weights of the stage before."""
        if self.finished or self.epoch == 0:
            return False
        number, epoch = self._position(self.epoch)
        return epoch == 0 and self.config.stages[number].starts_from == "best"

    @property
    def best_counts(self) -> bool:
        """Whether the best epoch of the stage just trained is wanted, and not its last."""
        number, _ = self._position(self.epoch - 1)
        return self.config.ships_best(number)

    def run_epoch(self) -> dict[str, float | int | str]:
        """Train for one epoch. Returns its number (from 1), stage, mean loss and penalty (of the steps that have one),
        the mean of the steps' passes (`Defence.passes`), learning rate, what it was really computed in, and seconds.

        Raises DivergedError when the loss is not finite.
        """
        started = time.perf_counter()
        number, epoch_in_stage = self._position(self.epoch)
        stage = self.config.stages[number]
        torch.manual_seed(derive_seed(self.config.seed, "dropout", self.epoch))
        optimizer = self._optimizer_of(stage, epoch_in_stage)
        steps_per_epoch = self._steps_per_epoch(stage)
        losses, penalties = [], []
        self.model.train()
        precision = self.config.recipe.precision
        with trainable_parameters(self.model, stage), computing_in(precision, self.model):
            recorded = self._recorded_steps(stage)
            for position, (images, targets) in enumerate(self._batches(stage)):
                set_learning_rates(optimizer, stage, epoch_in_stage, position, steps_per_epoch)
                turn = min(position % self.defence_every, 1)
                replays = bool(recorded) and recorded[turn].takes(images)
                step = recorded[turn] if replays else self._steps[turn]
                loss, penalty = step(images, targets)
                losses.append(loss)
                if turn == 0:
                    penalties.append(penalty)
        mean_loss, mean_penalty = (float(torch.stack(values).mean()) for values in (losses, penalties))
        if not math.isfinite(mean_loss):
            raise DivergedError(
                f"trial {self.config.trial}: the training loss became {mean_loss} in epoch {self.epoch + 1}; "
                f"lower the learning rate (lr {stage.lr}) or lam ({self.config.lam})"
            )
        if self.config.recipe.calibrate:
            calibrate(self.model, self.images, self.rows)
        self.epoch += 1
        return {
            "epoch": self.epoch,
            "stage": stage.name,
            "train_loss": mean_loss,
            "train_penalty": mean_penalty,
            "passes": self._passes(len(penalties), len(losses)),
            "lr": float(optimizer.param_groups[0]["lr"]),
            "arithmetic": computed(precision, self.device),
            "steps": "CUDA graph" if recorded else "eager",
            "train_seconds": time.perf_counter() - started,
        }

    def _optimizer_of(self, stage: Stage, epoch_in_stage: int) -> torch.optim.Optimizer:
        """The optimiser of an epoch: the last one's, or one without a past."""
        if self._recorded and epoch_in_stage > 0:
            assert self._optimizer is not None
            if stage.rebuild_optimizer:
                clear_state(self._optimizer)  # in place: the recorded step goes on with the same tensors
        elif self._optimizer is None or epoch_in_stage == 0 or stage.rebuild_optimizer:
            self._optimizer, self._recorded = make_optimizer(self.model, stage, recorded=self._records), []
        return self._optimizer

    def _recorded_steps(self, stage: Stage) -> list[RecordedStep]:
        """`_steps` on a whole batch as CUDA graphs, recorded in the stage's first epoch here; empty without graphs."""
        if not self._recorded and self._records and self._views_per_epoch() >= stage.batch_size:
            assert self._optimizer is not None
            for step in self._steps:
                images = torch.zeros(stage.batch_size, 3, *self._view_size, dtype=torch.uint8, device=self.device)
                images = images.contiguous(memory_format=torch.channels_last)
                targets = torch.zeros(stage.batch_size, device=self.device)
                recorded = record_step(step, images, targets, self.model, self._optimizer)
                if recorded is None:
                    self._records, self._recorded = False, []
                    break
                self._recorded.append(recorded)
        return self._recorded

    @property
    def _steps(self) -> list[Step]:
        """The defended step and, where not every step is one, the step of the loss alone."""
        return [self._step] if self.defence_every == 1 else [self._step, self._plain_step]

    def _step(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """One optimiser step; returns the detached total loss and penalty (both on the recipe's scales).

        images: (B, 3, H, W) uint8.
        """
        return self._optimise(images, targets, self.defence, self.config.lam * self.defence_every)

    def _plain_step(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return self._optimise(images, targets, NoDefence(), 0.0)

    def _optimise(self, images: Tensor, targets: Tensor, defence: Defence, lam: float) -> tuple[Tensor, Tensor]:
        assert self._optimizer is not None
        images, targets = (values.to(self.device, non_blocking=True) for values in (images, targets))
        inputs = self.model.normalise(to_unit_range(images)).contiguous(memory_format=torch.channels_last)
        unit = partial(self._penalty_unit, targets)
        batch = Batch(model=self.model, inputs=inputs, targets=targets, loss=self._loss_of, unit=unit)
        outputs, penalty = defence.term(batch)
        loss = self._loss_of(outputs, targets) + lam * penalty
        self._optimizer.zero_grad(set_to_none=True)
        # Only the parameters: the shared clean forward also tracks the inputs, whose gradient nobody needs here.
        loss.backward(inputs=[parameter for parameter in self.model.parameters() if parameter.requires_grad])
        self._optimizer.step()
        return loss.detach(), penalty.detach()

    def _passes(self, defended: int, steps: int) -> float:
        """Of an epoch's steps, so many of which were defended, in the mean."""
        return (defended * self.defence.passes + (steps - defended) * NoDefence.passes) / steps

    def _loss_of(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The recipe's loss of the network's outputs, for targets on the MOS scale."""
        if self.config.recipe.loss_scale == "mos":
            return self.loss(self.model.to_mos(outputs), targets)
        return self.loss(outputs, (targets - self.model.offset) / self.model.scale)

    def _penalty_unit(self, targets: Tensor, outputs: Tensor) -> Tensor | float:
        recipe = self.config.recipe
        if recipe.penalty_scale == "native":
            return 1.0
        return mos_per_native(self.model, outputs, targets, calibrated=recipe.calibrate)

    def _position(self, epoch: int) -> tuple[int, int]:
        return stage_at(self.config.stage_epochs, epoch)

    def _batches(self, stage: Stage) -> Iterable[tuple[Tensor, Tensor]]:
        height, width = self._view_size
        batches = training_batches(
            self.images,
            self.rows["index"].to_numpy(),
            self.rows["mos"].to_numpy(np.float32),
            height=height,
            width=width,
            mode="crop" if self.config.recipe.training_crop else self.model.input_spec.mode,
            batch_size=stage.batch_size,
            seed=self.config.seed,
            epoch=self.epoch,
            augment=self.config.recipe.augment,
            crops_per_image=self.config.recipe.crops_per_image,
            drop_last=self._drops_last(stage),
            as_bytes=True,
        )
        if self.device.type != "cuda":
            return batches
        return prefetched((images.pin_memory(), targets.pin_memory()) for images, targets in batches)

    @property
    def _view_size(self) -> tuple[int, int]:
        view, crop = self.model.input_spec, self.config.recipe.training_crop
        return crop or view.height, crop or view.width

    def _views_per_epoch(self) -> int:
        return len(self.rows) * self.config.recipe.crops_per_image

    def _drops_last(self, stage: Stage) -> bool:
        """A last batch of one image has no batch statistics, so it is left out."""
        return self._views_per_epoch() % stage.batch_size == 1

    def _steps_per_epoch(self, stage: Stage) -> int:
        return max(1, math.ceil(self._views_per_epoch() / stage.batch_size) - self._drops_last(stage))

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on after the last finished epoch."""
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict() if self._optimizer else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = int(state["epoch"])
        self.model.load_state_dict(state["model"])
        if state["optimizer"] is not None and self.epoch > 0:
            number, _ = self._position(self.epoch - 1)
            stage = self.config.stages[number]
            self._optimizer, self._recorded = make_optimizer(self.model, stage, recorded=self._records), []
            load_optimizer(self._optimizer, state["optimizer"])


def stage_at(epochs: Sequence[int], epoch: int) -> tuple[int, int]:
    """The number of the stage that `epoch` falls in, and the epoch's number inside it, all from 0.

    epochs: of each stage.
    """
    for number, its_epochs in enumerate(epochs):
        if epoch < its_epochs:
            return number, epoch
        epoch -= its_epochs
    raise ValueError("the stages have fewer epochs than that")


def make_optimizer(model: Scorer, stage: Stage, *, recorded: bool = False) -> torch.optim.Optimizer:
    """The stage's optimiser over the groups `backbone` and `head`, in this order.

    recorded: as a CUDA graph needs it, on the model's device: fused, learning rates as tensors.
    """
    groups: list[dict[str, Any]] = [
        {"params": parameters, "name": name} for name, parameters in model.parameter_groups().items()
    ]
    options: dict[str, Any] = {}
    if recorded:
        for group in groups:
            group["lr"] = torch.tensor(stage.lr, device=model.mean.device)
        options = {"fused": True}
    if stage.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=stage.lr, momentum=stage.momentum, weight_decay=stage.weight_decay, **options)
    if model.mean.device.type == "cuda" and recorded:
        options["capturable"] = True
    maker = torch.optim.AdamW if stage.optimizer == "adamw" else torch.optim.Adam
    return maker(groups, lr=stage.lr, weight_decay=stage.weight_decay, **options)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Go on with the moments in `state`, of the same stage's optimiser on whatever device, recorded or not."""
    own = optimizer.state_dict()["param_groups"]
    kept = ("lr", "fused", "foreach", "capturable")
    groups = [
        saved | {key: group[key] for key in kept if key in group}
        for saved, group in zip(state["param_groups"], own, strict=True)
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})


class trainable_parameters:  # noqa: N801  (a context manager, named as it is read)
    """Inside, only the parameters that the stage trains ask for gradients."""

    def __init__(self, model: nn.Module, stage: Stage) -> None:
        groups = model.parameter_groups() if stage.trains == "head" else {}  # type: ignore[operator]
        self.frozen = [parameter for name, group in groups.items() if name != "head" for parameter in group]

    def __enter__(self) -> None:
        for parameter in self.frozen:
            parameter.requires_grad_(False)
            parameter.grad = None

    def __exit__(self, *_: object) -> None:
        for parameter in self.frozen:
            parameter.requires_grad_(True)


def set_learning_rates(
    optimizer: torch.optim.Optimizer, stage: Stage, epoch: int, step: int, steps_per_epoch: int
) -> None:
    """Set each group's rate for this step. Computed from the position alone, so a resumed stage needs no state."""
    for group in optimizer.param_groups:
        is_head = group["name"] == "head"
        rate = stage.lr * learning_rate_factor(stage, epoch, step, steps_per_epoch, is_head=is_head)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def learning_rate_factor(stage: Stage, epoch: int, step: int, steps_per_epoch: int, *, is_head: bool) -> float:
    """Multiple of `stage.lr` at a step (both counted from 0) of an epoch of the stage."""
    factor = 1.0
    if is_head:
        if stage.head_epochs is not None and epoch >= stage.head_epochs:
            return 0.0
        if stage.head_lr_ratio_epochs is None or epoch < stage.head_lr_ratio_epochs:
            factor = stage.head_lr_ratio
        if stage.head_step_epochs is not None:
            return factor * stage.step_factor ** (epoch // stage.head_step_epochs)
    position = epoch * steps_per_epoch + step
    if stage.schedule == "step":
        factor *= stage.step_factor ** (epoch // stage.step_epochs)
    elif stage.schedule == "cosine_wave":
        factor *= (1 + math.cos(math.pi * position / stage.wave_steps)) / 2
    elif stage.schedule == "cosine":
        total = stage.epochs * steps_per_epoch
        warmup = round(stage.warmup * total)
        if position < warmup:
            factor *= (position + 1) / warmup
        else:
            factor *= (1 + math.cos(math.pi * (position - warmup) / max(1, total - warmup))) / 2
    return factor


def mos_per_native(model: Scorer, outputs: Tensor, targets: Tensor, *, calibrated: bool) -> Tensor:
    """How many MOS points one unit of the native score is worth.

    A calibrated model has no scale of its own while it trains: its batch's spread is set against the targets'. The
    gradient flows through that ratio, so that shrinking the raw output does not lower the penalty.
    """
    if not calibrated:
        return model.scale
    scores = outputs if outputs.ndim == 1 else outputs[-1]
    return targets.std() / scores.std().clamp_min(1e-8)


def calibrate(model: Scorer, images: ImageStore, rows: pd.DataFrame) -> None:
    """Set the model's native-to-MOS map to the least-squares line through its scores of `rows`.

    LinearityIQA's k and b (its README; fitted there once, after training).
    """
    scores = clean_scores(model, images, rows)
    native = (scores - float(model.offset)) / float(model.scale)
    if np.ptp(native) == 0:
        return
    slope, intercept = np.polyfit(native, rows["mos"].to_numpy(), 1)
    model.scale.fill_(slope)
    model.offset.fill_(intercept)
