"""What a study would cost on this machine, from a step of its own model on its own images."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from study.running.costs import models_attacked, passes_of
from study.running.ready import Ready, bytes_needed
from trainables.config import BASELINE, Stage, TrialConfig

if TYPE_CHECKING:
    import pandas as pd
    import torch

START_SECONDS = 20.0
"""From the command to the first epoch: Ray's start and the imports of its processes; 14 to 31 s were measured."""
SCORED = 24
"""Views that are scored and attacked for the timing."""
PASSES = 4
"""Gradient passes that an iterated attack's cost is timed over."""
TRIES = 2
"""Timings of which the shortest counts: what else runs on the machine only makes them longer."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """A study before it is begun. Times are of this machine, in seconds."""

    trials: int
    """NT trials beside the baseline."""
    at_a_time: int
    device: str
    images: dict[str, int]
    """Part of the split -> images."""
    step_seconds: float
    """One optimiser step of an NT trial's last stage."""
    batch_size: int
    baseline_seconds: float
    trial_seconds: float
    record_seconds: float
    """Attacking and scoring one model, as every trial and mixture is; part of `trial_seconds`."""
    suite_seconds: float
    """The full suite on all that it is asked for, without what black-box attacks are made on; 0: none asked for."""
    seconds: float
    """All of it."""
    bytes: int
    """What it keeps on the disk, at most."""


def forecast(ready: Ready) -> Forecast:
    """Time a step of each kind and multiply. Writes nothing; takes seconds (`small`) to a minute or two (`paper`)."""
    import torch

    from study.cluster.session import trials_at_a_time

    study_file = ready.study_file
    gpus = torch.cuda.device_count()
    device = torch.device("cuda" if gpus else "cpu")
    at_a_time = trials_at_a_time(study_file, gpus)
    parts = {str(part): int(count) for part, count in ready.rows["split"].value_counts().items()}
    baseline = study_file.trial_config(BASELINE, {})
    nt = study_file.trial_config("t000", {name: axis.low or axis.high for name, axis in study_file.space.items()})
    timing = _scoring_seconds(ready, baseline, device)
    probe = parts["validation"] * timing["probe"]
    measured = parts["validation"] + parts["test"]
    record = measured * timing["record"]
    steps = {name: _epochs(ready, config, device) for name, config in (("baseline", baseline), ("nt", nt))}
    trained = {name: sum(epochs * (seconds + probe) for epochs, seconds, _ in timed) for name, timed in steps.items()}
    passes = sum(1 + passes_of(attack) for attack in study_file.suite.values())
    suite = models_attacked(study_file) * measured * timing["pass"] * passes
    rounds = math.ceil(study_file.trials / at_a_time), math.ceil(study_file.mixtures / at_a_time)
    trial = trained["nt"] + record
    _, _, step_seconds = steps["nt"][-1]
    return Forecast(
        trials=study_file.trials,
        at_a_time=at_a_time,
        device=torch.cuda.get_device_name(device) if gpus else "CPU",
        images=parts,
        step_seconds=step_seconds,
        batch_size=nt.stages[-1].batch_size,
        baseline_seconds=trained["baseline"] + record,
        trial_seconds=trial,
        record_seconds=record,
        suite_seconds=suite / at_a_time,
        seconds=START_SECONDS
        + trained["baseline"]
        + record
        + rounds[0] * trial
        + rounds[1] * record
        + suite / at_a_time,
        bytes=bytes_needed(study_file, ready.model),
    )


def _epochs(ready: Ready, config: TrialConfig, device: torch.device) -> list[tuple[int, float, float]]:
    """Each stage's epochs, seconds of one of them, and of one step."""
    rows = ready.rows[ready.rows["split"] == "train"]
    return [(stage.epochs, *_epoch_seconds(ready, config, stage, rows, device)) for stage in config.stages]


def _epoch_seconds(
    ready: Ready, config: TrialConfig, stage: Stage, rows: pd.DataFrame, device: torch.device
) -> tuple[float, float]:
    """Seconds of an epoch and of a step: as many batches as the defence takes turns are trained on twice, and count the
    second time.
    """
    from trainables.train import Training

    views = config.recipe.crops_per_image
    few = rows.head(max(2, math.ceil(stage.batch_size * config.recipe.defence_every / views)))
    brief = dataclasses.replace(stage, epochs=2)
    recipe = dataclasses.replace(config.recipe, stages=(brief,), init="scratch")
    model = copy.deepcopy(ready.model)
    training = Training(model, dataclasses.replace(config, recipe=recipe), ready.images.store, few, device)
    training.run_epoch()
    started = time.perf_counter()
    training.run_epoch()
    seconds = time.perf_counter() - started
    steps = math.ceil(len(few) * views / stage.batch_size)
    return seconds * len(rows) / len(few), seconds / steps


def _scoring_seconds(ready: Ready, config: TrialConfig, device: torch.device) -> dict[str, float]:
    """Seconds of an image in an epoch's `probe`, in a trial's `record`, and in one `pass` of an iterated attack."""
    from trainables.attacks import create_attack
    from trainables.evaluate import evaluate, probe

    model, store = copy.deepcopy(ready.model).to(device), ready.images.store
    few = ready.rows[ready.rows["split"] == "validation"]
    few = few.head(max(1, SCORED // model.input_spec.crops))
    attacks = {label: create_attack(**params) for label, params in config.attacks.items()}
    several = {"ifgsm": create_attack("ifgsm", steps=1 + PASSES)}
    probe(model, store, few, attacks["fgsm"])
    seconds = {
        "probe": _seconds(lambda: probe(model, store, few, attacks["fgsm"])),
        "record": _seconds(lambda: evaluate(model, store, few, attacks)),
        "pass": 0.0,
    }
    if models_attacked(ready.study_file):
        once = _seconds(lambda: evaluate(model, store, few, {"fgsm": attacks["fgsm"]}))
        seconds["pass"] = max(0.0, _seconds(lambda: evaluate(model, store, few, several)) - once) / PASSES
    return {name: value / len(few) for name, value in seconds.items()}


def _seconds(run: Any) -> float:
    seconds = []
    for _ in range(TRIES):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
