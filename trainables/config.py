"""What one trial is told: frozen, keyword-only, and small enough to read in a log.

Plain dataclasses, so that a trial runs without any validation framework; bad values fail at construction. The study
file (`search_spaces/schema.py`) builds them and refuses unknown keys through `__pydantic_config__`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from trainables.written import Real, Whole

Size = Literal["paper", "mobile", "small"]
"""Of a network: as published, over a MobileNetV2 with ImageNet weights, or small enough to train from nothing."""
Precision = Literal["fp32", "conv_tf32", "tf32", "bf16"]
"""Floating-point arithmetic of the network (`precision.py`). `fp32`: float32 throughout. `conv_tf32`, PyTorch's own
setting: on a CUDA card convolutions, but no matrix products, take TensorFloat-32 factors. `tf32`: both do. `bf16`: the
network's body runs under autocast to bfloat16, its head in float32; the rest is as for `tf32`."""

ViewRule = Literal["grid", "by_name"]
FORBID_UNKNOWN: dict[str, Any] = {"extra": "forbid"}


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of training with one optimiser; a recipe is a sequence of stages."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID_UNKNOWN

    name: str
    """What it is called in logs and curves; each stage of a recipe has another name."""
    epochs: Whole
    """Passes over the training part; at least 1."""
    lr: Real
    """Learning rate of the backbone."""
    head_lr_ratio: Real = 1.0
    """Learning rate of the head, as a multiple of `lr`."""
    head_lr_ratio_epochs: Whole | None = None
    """The head keeps its multiple for this many epochs and then trains at `lr`; None: for the whole stage."""
    head_step_epochs: Whole | None = None
    """The head's learning rate falls by `step_factor` every so many epochs; None: it follows `schedule`."""
    head_epochs: Whole | None = None
    """The head is trained in the first so many epochs only; None: always. (HyperIQA as released: 1.)"""
    starts_from: Literal["last", "best"] = "last"
    """A later stage starts from the weights of the epoch before it, or of the stage before's best epoch by validation
    SROCC. (DBCNN: best.)"""
    trains: Literal["all", "head"] = "all"
    """Which parameters are trained; the rest keep their values (BatchNorm statistics still move, as published)."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """PyTorch's."""
    momentum: Real = 0.9
    """Of SGD."""
    weight_decay: Real = 0.0
    """Of the optimiser."""
    schedule: Literal["constant", "cosine", "step", "cosine_wave"] = "constant"
    """`cosine`: to zero over the stage, after `warmup`; `step`: by `step_factor` every `step_epochs`;
    `cosine_wave`: down and up again, half a period every `wave_steps` optimiser steps (MANIQA as released)."""
    warmup: Real = 0.0
    """Share of the stage's steps with a linearly rising learning rate, for `cosine`."""
    step_epochs: Whole = 1
    """Epochs between two falls of the learning rate, for `step`."""
    step_factor: Real = 0.1
    """By what the learning rate is multiplied at each fall, for `step`."""
    wave_steps: Whole = 50
    """Optimiser steps of half a period, for `cosine_wave`."""
    batch_size: Whole = 32
    """Training views in a batch; 1 only where no layer and no loss needs several (MANIQA)."""
    rebuild_optimizer: bool = False
    """Make a new optimiser each epoch, losing its moments. (HyperIQA as released.)"""

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, f"stage {self.name!r}: epochs must be at least 1, got {self.epochs}")
        _require(self.batch_size >= 1, f"stage {self.name!r}: batch_size must be at least 1, got {self.batch_size}")
        _require(self.lr > 0, f"stage {self.name!r}: lr must be positive, got {self.lr}")
        _require(0 <= self.warmup < 1, f"stage {self.name!r}: warmup is a share in [0, 1), got {self.warmup}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID_UNKNOWN

    stages: tuple[Stage, ...]
    """One after the other; where `init` is `baseline`, at least two."""
    init: Literal["scratch", "imagenet", "baseline"] = "scratch"
    """Where NT trials start. `baseline`: from the study's λ=0 baseline as it was before its last stage, so that the
    earlier stages are paid for once and every trial, the baseline included, spends the same last stage."""
    baseline_init: Literal["scratch", "imagenet"] = "scratch"
    """Where the baseline itself starts when `init` is `baseline`."""
    weights: str | None = None
    """A published checkpoint to put over these weights: a whole model's, or DBCNN's S-CNN for its stream."""
    swin_scale: Real | None = None
    """The `scale` in the training code of a MANIQA checkpoint; its file does not say it."""
    loss: str = "l1"
    """A loss of `trainables/losses.py`: `l1`, `mse` or `norm_in_norm`."""
    loss_params: dict[str, Any] = field(default_factory=dict)
    """The loss's own parameters, by name."""
    loss_scale: Literal["mos", "native"] = "mos"
    """Scale on which the loss compares scores: 0..100, or the network's own output."""
    penalty_scale: Literal["mos", "native"] = "mos"
    """Scale of the score whose change is penalised. λ has this scale's inverse square as its unit."""
    defence: str = "nt"
    """What λ weighs beside the loss: a name in `trainables.defences.DEFENCES`. Records that do not say were NT's."""
    defence_params: dict[str, Any] = field(default_factory=dict)
    """Its parameters, but for λ and h, which are the trial's."""
    defence_every: Whole = 1
    """Only every so many-th step of an epoch, the first one among them, has the defence's term, with so many times λ:
    the others cost what they cost without a defence."""
    calibrate: bool = False
    """Fit the map from native output to MOS on the training predictions after every epoch (LinearityIQA's k and b)."""
    augment: Literal["none", "mirror", "upside_down", "dihedral"] = "mirror"
    """How training views are turned at random: not at all, left-right in half of them, top-bottom in seven of ten
    (MANIQA as released), or in all eight ways a square can lie."""
    crops_per_image: Whole = 1
    """Training views drawn from each image per epoch."""
    training_crop: Whole | None = None
    """Train on square crops of so many pixels instead of the model's usual view (DBCNN: 448)."""
    select: Literal["last", "best"] = "last"
    """Which epoch's weights the trial ships: the last, or the one with the best validation SROCC."""
    precision: Precision = "conv_tf32"
    """Of training. The default is what records that do not say were trained in."""
    attack_precision: Precision = "conv_tf32"
    """Of the gradients that iterated attacks follow. Where it is another than the default, clean and attacked scores
    and the clean gradient are computed in `fp32`."""
    graphs: bool = False
    """On a CUDA card, record the training step of a whole batch once as a CUDA graph and replay it: the same
    arithmetic in fewer launches, with PyTorch's fused optimiser. Off until `benchmarks/gpu.py` has run on a card."""

    def __post_init__(self) -> None:
        for name in ("precision", "attack_precision"):
            chosen = getattr(self, name)
            _require(
                chosen in get_args(Precision),
                f"recipe: {name} must be one of {', '.join(get_args(Precision))}, got {chosen!r}",
            )
        _require(self.defence_every >= 1, f"recipe: defence_every must be at least 1, got {self.defence_every}")
        _require(len(self.stages) >= 1, "recipe: at least one stage is needed")
        names = [stage.name for stage in self.stages]
        _require(len(set(names)) == len(names), f"recipe: stage names must differ, got {names}")
        _require(
            self.init != "baseline" or len(self.stages) >= 2,
            "recipe: init 'baseline' needs two stages or more; NT trials repeat the last one from the baseline's state",
        )

    def start(self, *, is_baseline: bool) -> Literal["scratch", "imagenet", "baseline"]:
        """Where a trial's weights come from."""
        return self.baseline_init if self.init == "baseline" and is_baseline else self.init

    def stages_of(self, *, is_baseline: bool) -> tuple[Stage, ...]:
        """The stages that a trial runs itself."""
        return self.stages[-1:] if self.init == "baseline" and not is_baseline else self.stages


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A point on the straight line between the weights of two trained trials. Make it with `Mixture.of`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID_UNKNOWN

    parents: tuple[str, str]
    """The two trials, in the order of `in_order`."""
    weight: float
    """The second parent's share, between 0 and 1, in steps of 0.0001; the first parent's is the rest."""

    def __post_init__(self) -> None:
        first, second = self.parents
        _require(
            in_order(first) < in_order(second),
            f"a mixture needs two different parents in order, got {first!r}, {second!r}",
        )
        _require(
            0 < self.weight < 1 and self.weight == round(self.weight, 4),
            f"a mixture's weight lies between 0 and 1 in steps of 0.0001, got {self.weight}",
        )

    @classmethod
    def of(cls, first: str, second: str, weight: float) -> Mixture:
        """`weight` of `second` and the rest of `first`, whichever of the two comes first by name."""
        if in_order(second) < in_order(first):
            return cls.of(second, first, 1 - weight)
        return cls(parents=(first, second), weight=round(weight, 4))

    @classmethod
    def named(cls, name: str) -> Mixture | None:
        """The mixture of a `name`; None for what is no mixture's name."""
        parents, _, weight = name.rpartition("@")
        first, _, second = parents.partition("~")
        try:
            mixture = cls(parents=(first, second), weight=float(weight))
        except ValueError:
            return None
        return mixture if mixture.name == name else None

    @property
    def name(self) -> str:
        """What it is called among the trials, such as `baseline~t003@0.35`."""
        return f"{self.parents[0]}~{self.parents[1]}@{self.weight:g}"

    @property
    def shares(self) -> tuple[float, float]:
        """What each parent gives; the two swap exactly when the parents do."""
        return round(1 - self.weight, 4), self.weight

    def describe(self) -> str:
        """Its recipe in words, such as `0.65 baseline + 0.35 t003`."""
        return " + ".join(f"{share:g} {parent}" for share, parent in zip(self.shares, self.parents, strict=True))


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Everything that decides what one trial computes, together with the images and their split."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID_UNKNOWN

    trial: str
    """Its name in the study: `baseline`, or `t` and a number."""
    model: str
    size: Size
    recipe: Recipe
    lam: float
    """λ, the weight of the defence's term (NT: released form, with the factor ½); 0 trains without it."""
    step_size: float
    """h, the step of NT's finite difference in ImageNet-normalised units."""
    seed: int
    views: ViewRule = "by_name"
    """Where an image's crops lie in validation and test: `grid`; `by_name` is what a record that does not say followed,
    places drawn from the seed and the image's name."""
    attacks: dict[str, dict[str, Any]]
    """The attacks of the record: label -> {"name": …, parameters}; the label `fgsm` is the search's probe."""
    mixture: Mixture | None = None
    """What the model was mixed of, where it was not trained: `lam` and `step_size` are then its parents', weighted."""
    refit: tuple[int, ...] = ()
    """Of a refit on training and validation images together: how many epochs each of its stages runs, for no image is
    left to choose one by. Its learning rates are those of the whole stages. Empty for any other trial."""

    def __post_init__(self) -> None:
        _require(self.lam >= 0 and math.isfinite(self.lam), f"lam must be finite and at least 0, got {self.lam}")
        _require(self.step_size > 0, f"step_size must be positive, got {self.step_size}")
        fits = len(self.refit) == len(self.stages) and all(
            1 <= epochs <= stage.epochs for epochs, stage in zip(self.refit, self.stages, strict=True)
        )
        _require(not self.refit or fits, f"refit gives epochs for each stage, as many as it has at most: {self.refit}")

    @property
    def names_seed(self) -> int | None:
        """`InputSpec.names_seed` of the trial's model."""
        return self.seed if self.views == "by_name" else None

    @property
    def is_baseline(self) -> bool:
        return self.trial == BASELINE

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that this trial trains itself; a mixture trains none."""
        return () if self.mixture else self.recipe.stages_of(is_baseline=self.is_baseline)

    @property
    def epochs(self) -> int:
        """Epochs that this trial trains itself."""
        return sum(self.stage_epochs)

    @property
    def stage_epochs(self) -> tuple[int, ...]:
        """The same of each stage."""
        return self.refit or tuple(stage.epochs for stage in self.stages)

    def ships_best(self, number: int) -> bool:
        """Whether of its stage `number` (from 0) the best epoch by validation SROCC is wanted, and not the last."""
        is_last = number == len(self.stages) - 1
        return self.recipe.select == "best" if is_last else self.stages[number + 1].starts_from == "best"

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


BASELINE = "baseline"
"""Name of the λ=0 trial that is part of every study."""


def in_order(trial: str) -> tuple[int, str]:
    """Sorts names of trials: the baseline, then by number, which has more than three digits from 1000 on; mixtures."""
    return (0, "") if trial == BASELINE else (len(trial), trial)


_KINDS: dict[str, type | tuple[type, ...]] = {
    "trial": str,
    "model": str,
    "size": str,
    "seed": int,
    "lam": (int, float),
    "step_size": (int, float),
    "attacks": dict,
}


def trial_config_from_dict(values: dict[str, Any]) -> TrialConfig:
    """The inverse of `TrialConfig.to_dict`, for files that were written by it.

    TypeError, ValueError, KeyError or AttributeError for what was not.
    """
    for name, kind in _KINDS.items():
        if name in values and not isinstance(values[name], kind):
            raise TypeError(f"{name} is {values[name]!r}")
    recipe = dict(values["recipe"])
    recipe["stages"] = tuple(Stage(**stage) for stage in recipe["stages"])
    mixture = values.get("mixture")
    if mixture is not None:
        mixture = Mixture(parents=tuple(mixture["parents"]), weight=mixture["weight"])
    refit = tuple(values.get("refit", ()))
    return TrialConfig(**{**values, "recipe": Recipe(**recipe), "mixture": mixture, "refit": refit})
