"""The study file: what a study runs, validated, with errors that name the place and the remedy.

A baseline's YAML (`search_spaces/<baseline>.yaml`) holds `sizes` (what belongs to the network of each
size, `recipes` by name among it, the first one being the default) and `presets` (ready-made studies). A defence
other than NT brings its own space (`defence_space.py`). A user's study file names a `baseline` and a `preset` and
overrides what it likes; its `recipe` is a name, or keys that replace some of one's: of the preset's, or of the one that
it is `based_on`. All of it ends as one `StudyFile`, which is frozen into the study's directory.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from search_spaces.defence_space import PARAMETERS, searched_by, space_of
from search_spaces.yaml_file import StudyFileError, did_you_mean, read_yaml
from trainables.config import BASELINE, Recipe, Size, TrialConfig, ViewRule
from trainables.files import whole_path, whole_url
from trainables.objectives import DEFAULT_ATTACK, WORST, objective
from trainables.registry import unknown
from trainables.trust import has_secret, without_secrets
from trainables.written import Real, Whole

FOLDER = Path(__file__).parent
STAGE_PARAMETERS = ("lr", "weight_decay", "head_lr_ratio", "batch_size")
"""Training hyperparameters that a space may name beside the defence's; they apply to the last stage."""
BASED_ON = "based_on"
"""Key of a study file's recipe: the name of the recipe of which the other keys replace something."""
SHARED = "shared"
"""In place of an entry of a baseline's suite: those of `suites/<label>.yaml`."""
FullSuite = Literal["none", "reported", "front", "all"]
"""On which finished trials the full attack suite runs; `reported`: what a report
shows of the models, which is the baseline, the knee, and the paper's λ and h."""
Sampler = Literal["pareto_gp", "path", "tpe", "nsga2", "gp", "qmc", "random", "grid"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Part):
    """One axis of the search space."""

    low: Real
    """The smallest value; above 0 where `log` is true."""
    high: Real
    """The largest value."""
    log: bool = False
    """Whether the logarithm is searched instead of the value: for ranges over powers of ten."""
    integer: bool = False
    """Whether only whole numbers are tried, as for `batch_size`."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range needs low above 0, got {self.low}")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"an integer range begins and ends at whole numbers, got {self.low} and {self.high}")
        return self

    def settle(self, value: float) -> float:
        """A value of this axis as a trial takes it: a whole number for an integer axis."""
        return round(value) if self.integer else value


class Split(_Part):
    """How images are divided into train, validation and test."""

    mode: Literal["content", "random", "authors", "given"] | None = None
    """`content`: whole contents are drawn. `given`: the data set's own column `split`. `authors`: the split that was
    published with the paper (LIVEC). `random`: single images are drawn. None: `given` where the set has one, else
    `content`."""
    fractions: tuple[Real, Real, Real] = (0.6, 0.2, 0.2)
    """Shares of train, validation and test where they are drawn; they sum to 1."""
    required: bool = True
    """Whether a data set without this split is refused. False: its own split is used instead, or else `content`."""

    @field_validator("fractions")
    @classmethod
    def _sum_to_one(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-9:
            raise ValueError(f"the three fractions must be positive and sum to 1, got {fractions}")
        return fractions


class Resources(_Part):
    """What one trial reserves on the cluster."""

    cpu: Real = Field(gt=0)
    """Processor cores."""
    gpu: Real = Field(default=0, ge=0)
    """GPUs; 0.5 lets two trials share one."""
    custom: dict[str, Real] = Field(default_factory=dict)
    """Ray's custom resources by name, to choose among machines."""


class Scheduler(_Part):
    """Which trials are stopped early, so that their epochs go to better ones."""

    name: Literal["none", "pareto_asha"] = "none"
    """`none`: all trials train to their end. `pareto_asha`: asynchronous successive halving by Pareto rank."""
    grace_period: Whole = Field(default=1, ge=1)
    """Epochs that every trial gets."""
    reduction_factor: Whole = Field(default=3, ge=2)
    """One trial in so many goes on at each rung; rungs lie at the grace period times powers of this."""


class StudyFile(_Part):
    """One study, completely: with the code version and the images it decides every number."""

    baseline: str
    """The network: a name of `search_spaces/`."""
    size: Size = "small"
    """Of the network: as published, over a MobileNetV2 with ImageNet weights, or small enough to train from nothing."""
    data: str = "photos"
    """The images: a data set's name and place, as in `livec:/data/livec` or `csv:ratings.xlsx`."""
    skip_unreadable: bool = False
    """Leave out images that cannot be read, and say which, instead of refusing the data set."""
    split: Split = Split()
    """How the images are divided into train, validation and test."""
    views: ViewRule = "by_name"
    """Where images' crops lie when they are scored (`trainables/views.py`). New studies say `grid`; one that says
    nothing began before there was a choice."""
    seed: Whole = Field(default=0, ge=0)
    """Everything random is derived from it: the split, weights, batches, search, attacks."""
    trials: Whole = Field(default=12, ge=1)
    """Trials with the defence, beside the λ=0 baseline that is always part of a study."""
    sampler: Sampler = "pareto_gp"
    """What chooses the next point; compared by measurement in docs/search.md."""
    space: dict[str, Range]
    """Name -> range: of `lam` (λ, with the released factor ½) and `step_size` (h, in ImageNet-normalised units), and of
    training hyperparameters of the last stage if wanted: `lr`, `weight_decay`, `head_lr_ratio`, `batch_size`."""
    first_points: tuple[dict[str, Real], ...] = ()
    """Points that are evaluated before the sampler's own."""
    scheduler: Scheduler = Scheduler()
    """Early stopping of trials."""
    paper_point: dict[str, Real] = Field(default_factory=dict)
    """The λ and h that the paper chose for this baseline; marked in the plots."""
    default_step_size: Real = Field(default=0.01, gt=0)
    """h of the baseline's configuration, which has λ=0 and so never uses it."""
    objectives: tuple[str, ...] = ("srocc", "rmse_attacked")
    """Two or three metrics on validation images: the accuracy first, the robustness second."""
    recipe: Recipe
    """How models are trained."""
    attacks: dict[str, dict[str, Any]]
    """Label -> attack and its parameters: what every trial is attacked with. `fgsm` must be among them: the search
    probes with it after each epoch."""
    suite: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Further attacks, too costly for every trial; `full_suite` says on which finished trials they run."""
    full_suite: FullSuite = "none"
    """On which finished trials `suite` runs at the end. `reported`: the baseline, the knee, and the paper's λ and h."""
    mixtures: int = Field(default=0, ge=0)
    """After the search, at most so many mixtures of two trials are measured where the front has gaps; 0: none."""
    resources_per_trial: Resources | None = None
    """None: one CPU, and on a cluster with GPUs one GPU."""
    max_concurrent: Whole | None = Field(default=None, ge=1)
    """Trials at a time, at most; None: as many as fit."""
    max_failures: Whole = Field(default=1, ge=0)
    """How often a trial is started again after a failure before it is recorded as failed."""
    trial_timeout: Real | None = Field(default=None, gt=0)
    """Seconds without a finished epoch after which a trial's process is ended, which is a failure; None: never."""
    give_up_after: Whole = Field(default=3, ge=1)
    """The study stops when its first so many trials all failed with the same error."""
    storage: str | None = None
    """Optuna storage as a database URL without a password; None: SQLite in the study's folder."""

    @field_validator("space")
    @classmethod
    def _space_is_known(cls, space: dict[str, Range]) -> dict[str, Range]:
        known = (*PARAMETERS, *STAGE_PARAMETERS)
        for name in space:
            if name not in known:
                raise ValueError(unknown(name, known, "parameter"))
            if name in PARAMETERS and space[name].low < 0:
                raise ValueError(f"{name}: low must not be negative, got {space[name].low}")
        if not space:
            raise ValueError("the space is empty; say the range of at least one parameter")
        if "batch_size" in space and not space["batch_size"].integer:
            raise ValueError("batch_size: a batch has a whole number of images; add 'integer: true'")
        return space

    @field_validator("objectives")
    @classmethod
    def _objectives_are_known(cls, objectives: tuple[str, ...]) -> tuple[str, ...]:
        if len(objectives) not in (2, 3) or len(set(objectives)) != len(objectives):
            raise ValueError(f"name two or three different objectives, got {list(objectives)}")
        for name in objectives:
            objective(name)
        return objectives

    @field_validator("attacks")
    @classmethod
    def _has_the_probe(cls, attacks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if "fgsm" not in attacks:
            raise ValueError("an attack labelled 'fgsm' is needed: it is the probe that the search reads")
        return attacks

    @field_validator("attacks", "suite")
    @classmethod
    def _attacks_are_named(cls, attacks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for label, attack in attacks.items():
            if "name" not in attack:
                raise ValueError(f"{label}: say which attack this is, as in {{name: fgsm, eps: 0.005}}")
        return attacks

    @field_validator("storage")
    @classmethod
    def _storage_is_a_url(cls, storage: str | None) -> str | None:
        if storage is None:
            return None
        parts = urlsplit(storage)
        if not parts.scheme or "://" not in storage:
            raise ValueError("expected a database URL, as in postgresql://user@host/database")
        if has_secret(storage):
            raise ValueError(
                "leave the password or token out, it would be kept in every study's folder; "
                "PostgreSQL takes it from PGPASSWORD or ~/.pgpass, MySQL from its option file"
            )
        return storage

    @model_validator(mode="after")
    def _space_is_the_defences(self) -> StudyFile:
        known = searched_by(self.recipe.defence)
        for name in PARAMETERS:
            if name in ("lam", "step_size") and name in known and name not in self.space:
                raise ValueError(f"space: the space must say the range of {name!r}")
            if name in self.space and name not in known:
                raise ValueError(
                    f"space: the defence {self.recipe.defence!r} has no {name!r} to search; "
                    f"it has {' and '.join(known) or 'nothing but the training itself'}"
                )
        if "eps" in self.space and "eps" in self.recipe.defence_params:
            raise ValueError("space: eps is fixed in the recipe's defence_params; take it out of one of the two")
        if self.sampler == "path" and "lam" not in self.space:
            raise ValueError(f"sampler: path goes along lam, which {self.recipe.defence!r} does not have; name another")
        return self

    @model_validator(mode="after")
    def _objectives_are_measured(self) -> StudyFile:
        labels = [label for label in self.attacks if label != DEFAULT_ATTACK]
        for name in self.objectives:
            label = name.partition("/")[2]
            if label and label not in labels:
                raise ValueError(
                    f"objectives: no trial is measured on {name!r}, because attacks has no {label!r} "
                    f"(it has {', '.join(labels) or 'none'}, and {DEFAULT_ATTACK} needs no suffix); add it to attacks"
                )
        return self

    @model_validator(mode="after")
    def _scheduler_hears_the_objectives(self) -> StudyFile:
        if self.scheduler.name == "none":
            return self
        unheard = [name for name in self.objectives if "/" in name or name in WORST]
        if unheard:
            raise ValueError(
                f"scheduler: {self.scheduler.name} compares trials after every epoch, when only the probe has run; "
                f"{unheard[0]!r} is known at a trial's end: name another objective or scheduler 'none'"
            )
        return self

    @model_validator(mode="after")
    def _points_lie_in_the_space(self) -> StudyFile:
        for point in self.first_points:
            if set(point) != set(self.space):
                raise ValueError(f"first_points: {point} must name exactly {sorted(self.space)}")
            for name, value in point.items():
                axis = self.space[name]
                if not axis.low <= value <= axis.high:
                    raise ValueError(
                        f"first_points: {name} = {value} lies outside its range {axis.low:g} to {axis.high:g}; "
                        "widen the range or drop the point"
                    )
                if axis.settle(value) != value:
                    raise ValueError(f"first_points: {name} = {value} is not whole, as its range is")
        return self

    def trial_config(self, trial: str, point: Mapping[str, float]) -> TrialConfig:
        """The configuration of one trial at a point of the space (the baseline's point is empty)."""
        is_baseline = trial == BASELINE
        point = {name: self.space[name].settle(value) if name in self.space else value for name, value in point.items()}
        return TrialConfig(
            trial=trial,
            model=self.baseline,
            size=self.size,
            recipe=_with_point(self.recipe, point),
            lam=0.0 if is_baseline else point.get("lam", 0.0),
            step_size=self.default_step_size if is_baseline else point.get("step_size", self.default_step_size),
            seed=self.seed,
            views=self.views,
            attacks=self.attacks,
        )

    def with_typed_parameters(self) -> StudyFile:
        """The same study, with the parameters of attacks, loss and defence in their types.

        ValueError for an unknown name or parameter and for a value that is wrong. Apart from the file's own validation,
        as it needs PyTorch, and a study's file is read by commands that do not.
        """
        from search_spaces.parameters import typed_defence, typed_loss, typed_suite

        recipe = dataclasses.replace(
            self.recipe,
            loss_params=typed_loss(self.recipe.loss, self.recipe.loss_params),
            defence_params=typed_defence(self.recipe.defence, self.recipe.defence_params),
        )
        return self.model_copy(
            update={"recipe": recipe, "attacks": typed_suite(self.attacks), "suite": typed_suite(self.suite)}
        )

    def with_whole_paths(self) -> StudyFile:
        """The same study, with every path in it below the folder in which the command was given."""
        from trainables.attacks import PLACES
        from trainables.data import whole_spec

        def whole(attacks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
            return {
                label: {key: str(whole_path(value)) if key in PLACES else value for key, value in attack.items()}
                for label, attack in attacks.items()
            }

        weights = None if self.recipe.weights is None else str(whole_path(self.recipe.weights))
        return self.model_copy(
            update={
                "data": whole_spec(self.data),
                "recipe": dataclasses.replace(self.recipe, weights=weights),
                "attacks": whole(self.attacks),
                "suite": whole(self.suite),
                "storage": None if self.storage is None else whole_url(self.storage),
            }
        )

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _with_point(recipe: Recipe, point: Mapping[str, float]) -> Recipe:
    """The recipe with what a point of the space says of its defence and of its last stage."""
    if "eps" in point:
        recipe = dataclasses.replace(recipe, defence_params={**recipe.defence_params, "eps": point["eps"]})
    changes = {name: point[name] for name in STAGE_PARAMETERS if name in point}
    if not changes:
        return recipe
    last = dataclasses.replace(recipe.stages[-1], **changes)  # type: ignore[arg-type]
    return dataclasses.replace(recipe, stages=(*recipe.stages[:-1], last))


def baselines() -> list[str]:
    """Names of the baselines that have a search space."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_study_file(source: str, *, preset: str | None = None, overrides: Mapping[str, Any] | None = None) -> StudyFile:
    """The study that a baseline's name or a study file's path stands for, with overrides on top.

    A preset fills in what the file leaves out (`demo` when none is named); the size that results chooses the recipe.
    A file that leaves nothing out, such as a study's own `study.yaml`, is taken as it is. Relative paths, in a file, a
    preset or overrides, begin in the folder in which the command was given.
    Raises StudyFileError, or ValueError for an unknown data set, with one sentence.
    """
    own = {"baseline": source} if not _is_path(source) else read_yaml(Path(source))
    if set(StudyFile.model_fields) <= set(own) and preset is None:
        return _settled(validate(_merge(own, dict(overrides or {})), source), source)
    own = _lay(own, dict(overrides or {}))
    if "baseline" not in own:
        raise StudyFileError(f"{source}: say which baseline the study is of, as in 'baseline: hyperiqa'")
    baseline = str(own["baseline"])
    if baseline not in baselines():
        raise StudyFileError(f"{unknown(baseline, baselines(), 'baseline')}, or the path of a study file (*.yaml)")
    room = read_yaml(FOLDER / f"{baseline}.yaml")
    preset = preset or own.pop("preset", None) or "demo"
    own.pop("preset", None)
    for key, value in (("preset", preset), ("size", own.get("size", ""))):
        if not isinstance(value, str):
            raise StudyFileError(f"{source}: {key} is a name, got {value!r}")
    if preset not in room["presets"]:
        raise StudyFileError(f"{baseline}: {unknown(preset, room['presets'], 'preset')}")
    chosen = _lay(room["presets"][preset], own)
    size = chosen.get("size", "small")
    if size not in room["sizes"]:
        raise StudyFileError(unknown(size, room["sizes"], "size"))
    of_size = dict(room["sizes"][size])
    of_size["suite"] = _with_shared(of_size.get("suite", {}))
    recipes = of_size.pop("recipes")
    chosen["recipe"] = _recipe(chosen.get("recipe", {}), recipes, f"{baseline} at size {size}")
    if (defence := chosen["recipe"].get("defence", "nt")) != "nt":
        of_size |= space_of(defence, of_size["space"])
        for key in ("first_points", "paper_point"):  # a preset's are NT's; the user's own stay
            if key not in own:
                chosen.pop(key, None)
    return _settled(validate(_merge({"views": "grid", **of_size}, chosen), source), source)


def _settled(study_file: StudyFile, source: str) -> StudyFile:
    """What a person wrote, in types and places that mean the same anywhere."""
    try:
        typed = study_file.with_typed_parameters()
    except ValueError as error:
        raise StudyFileError(f"{source}: {error}") from None
    return typed.with_whole_paths()


def _lay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """As `_merge`, but keys of a recipe laid over a recipe's name keep that name: they change the recipe it names.

    And a split's mode takes back what was said of the mode below.
    """
    merged = _merge(below, above)
    named, keys = below.get("recipe"), above.get("recipe")
    if isinstance(named, str) and isinstance(keys, Mapping):
        merged["recipe"] = {BASED_ON: named, **keys}
    split = above.get("split")
    if isinstance(split, Mapping) and "mode" in split and "required" not in split:
        merged["split"].pop("required", None)
    return merged


def _with_shared(suite: Mapping[str, Any]) -> dict[str, Any]:
    """A baseline's suite, with the entries of `suites/<label>.yaml` where a label says `shared`."""
    whole: dict[str, Any] = {}
    for label, entry in suite.items():
        whole |= read_yaml(FOLDER / "suites" / f"{label}.yaml") if entry == SHARED else {label: entry}
    return whole


def _recipe(wanted: Any, recipes: dict[str, Any], owner: str) -> Any:
    """A recipe by its name, or with some keys of it replaced: of the one it is `based_on`, or the owner's first."""
    changes = dict(wanted) if isinstance(wanted, Mapping) else {}
    name = changes.pop(BASED_ON, next(iter(recipes))) if isinstance(wanted, Mapping) else wanted
    if not isinstance(name, str) or name not in recipes:
        raise StudyFileError(f"{owner}: {unknown(str(name), recipes, 'recipe')}")
    return _merge(recipes[name], changes)


def validate(values: Mapping[str, Any], source: str) -> StudyFile:
    """Check complete values; StudyFileError names the first mistake, where it is and what is expected."""
    try:
        return StudyFile.model_validate(dict(values))
    except ValidationError as error:
        raise StudyFileError(_first_sentence(error, source)) from None


def read_frozen(path: Path, source: str) -> StudyFile:
    """The study file that `StudyFile.to_yaml` wrote."""
    return validate(read_yaml(path), source)


def _first_sentence(error: ValidationError, source: str) -> str:
    details = error.errors()
    first = details[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        name = str(first["loc"][-1])
        message = f"unknown key{did_you_mean(name, _known_keys(first['loc']))}"
    elif first["type"] in ("missing", "missing_argument"):
        message = "this key is missing"
    elif first["type"] == "literal_error" and isinstance(first["input"], str):  # an optimizer, a sampler, a scheduler
        known = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        message = unknown(without_secrets(first["input"]), known, str(first["loc"][-1]))
    elif "input" in first and not isinstance(first["input"], dict):
        message = f"{message}, got {without_secrets(repr(first['input']))}" if "got" not in message else message
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{source}: {where}: {message}{more}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    import dataclasses

    from trainables.config import Stage

    parts: dict[str, Any] = {
        "split": Split,
        "resources_per_trial": Resources,
        "scheduler": Scheduler,
        "space": Range,
    }
    if location[0] == "recipe":
        owner = Stage if "stages" in location else Recipe
        return [field.name for field in dataclasses.fields(owner)]
    return (
        list(parts.get(str(location[0]), StudyFile).model_fields) if len(location) > 1 else list(StudyFile.model_fields)
    )


def _is_path(source: str) -> bool:
    return source.endswith((".yaml", ".yml")) or "/" in source


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`: mappings are merged, None takes a key away, everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        if value is None:
            merged.pop(key, None)
            continue
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
