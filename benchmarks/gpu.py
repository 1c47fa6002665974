"""What a machine does with training steps, attacks and epochs, and whether graphs and low precision change them.

    python benchmarks/gpu.py [--parts checks,steps,epoch,attacks] [--seconds 230] [--only TEXT] [--out FOLDER]
    python benchmarks/gpu.py --device cpu [--try]      # small networks; --try: few rounds, all of the card's code

Needs PyTorch, torchvision, NumPy, pandas and what `trainables` imports; MANIQA also timm. On a card networks have
published size, on a processor the small one; random weights and made-up images. Every figure is printed, and written to
`$OUT/<machine>.json` (or `--out`), as soon as it is there; what fails is written down as failed and costs nothing else.
What is compared was measured in turns. `python -m benchmarks.tables` makes docs/performance.md's tables of it.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import logging
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from trainables.attacks import create_attack
from trainables.attacks.base import undisturbed
from trainables.config import Precision, Recipe, Stage, TrialConfig
from trainables.data.batches import to_unit_range
from trainables.data.store import MappedStore, build_store
from trainables.evaluate import evaluate, probe
from trainables.gradients import final_scores, input_gradient
from trainables.memory import fitting_batch_size
from trainables.models import create_model
from trainables.models.scorer import Scorer
from trainables.precision import computing_in
from trainables.regularizer import nt_penalty
from trainables.train import Training

ROUNDS = 5
STEP_SIZE = 0.01
FGSM: dict[str, Any] = {"name": "fgsm", "eps": 0.005, "alpha": 0.01}
APGD: dict[str, Any] = {"name": "apgd", "eps": 0.005, "steps": 20, "restarts": 3}
AGREES = 1e-4
"""Largest relative difference of weights, buffers and optimiser state between a recorded and an eager training."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A baseline as its paper's recipe trains it (search_spaces/*.yaml)."""

    model: str
    batch: int
    side: tuple[int, int]
    lam: float
    lr: float = 1e-5
    recipe: Mapping[str, Any] = field(default_factory=dict)


NATIVE = {"loss_scale": "native", "penalty_scale": "native"}
PUBLISHED = (
    Published(model="hyperiqa", batch=16, side=(224, 224), lam=1e-3, lr=2e-5),
    Published(
        model="linearityiqa",
        batch=8,
        side=(498, 664),
        lam=5e-4,
        recipe={"loss": "norm_in_norm", "augment": "none", **NATIVE},
    ),
    Published(model="dbcnn", batch=8, side=(448, 448), lam=5e-4, recipe={"loss": "mse", "training_crop": 448}),
    Published(model="maniqa", batch=8, side=(224, 224), lam=3e-3, recipe={"loss": "mse", **NATIVE}),
)
SMALL = tuple(
    dataclasses.replace(
        published,
        side=(64, 64),
        batch=12,
        recipe={key: value for key, value in published.recipe.items() if key != "training_crop"},
    )
    for published in PUBLISHED
)


class Bench:
    """The machine, the clock and what was found so far."""

    def __init__(self, device: torch.device, trial: bool, seconds: float, only: str, out: Path, scratch: Path) -> None:
        self.device, self.trial, self.only, self.scratch = device, trial, only, scratch
        self.small = device.type != "cuda" or trial
        self.fresh: dict[str, Scorer] = {}
        self.ends = time.perf_counter() + seconds
        self.size: Any = "small" if self.small else "paper"
        self.baselines = SMALL if self.small else PUBLISHED
        # A processor computes everything in float32 unless it is to try the card's code.
        self.precisions: tuple[Precision, ...] = ("tf32", "bf16") if device.type == "cuda" or trial else ()
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        self.path = out / f"{re.sub('[^a-z0-9]+', '-', name.lower())}{'-try' * trial}.json"
        self.found: dict[str, Any] = {"torch": torch.__version__, "device": name, "threads": torch.get_num_threads()}

    def note(self, name: str, value: Any) -> None:
        self.found[name] = value
        print(name, json.dumps(_rounded(value)), flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.found, indent=1))

    def item(self, name: str, measure: Callable[[], Any]) -> None:
        """Note what `measure` returns, or why there is nothing."""
        if self.only not in name:
            return
        if time.perf_counter() > self.ends:
            self.note(name, {"skipped": "out of time"})
            return
        started = time.perf_counter()
        try:
            value = measure()
        except Exception as error:
            value = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
        self.note(name, value)
        print(f"    {time.perf_counter() - started:.1f} s", flush=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def sync(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, run: Callable[[], object], times: int = 1) -> float:
        """Of one of `times` runs."""
        self.sync()
        started = time.perf_counter()
        for _ in range(times):
            run()
        self.sync()
        return (time.perf_counter() - started) / times

    def in_turns(self, variants: Mapping[str, Callable[[], object]], unit: float = 1e3) -> dict[str, dict[str, float]]:
        """Median, smallest and largest of `ROUNDS` times of each (in ms, or of `unit` per second), one after another.

        What cannot run is left out and named.
        """
        times: dict[str, list[float]] = {}
        repeats: dict[str, int] = {}
        failed: dict[str, Any] = {}
        for name, run in variants.items():
            try:
                self.seconds(run, 2)
                repeats[name] = max(1, min(20, int(0.1 / self.seconds(run))))
                times[name] = []
            except Exception as error:
                failed[name] = {"failed": f"{type(error).__name__}: {str(error)[:200]}"}
        for _ in range(2 if self.trial else ROUNDS):
            for name, taken in times.items():
                taken.append(unit * self.seconds(variants[name], repeats[name]))
        return failed | {
            name: {"median": statistics.median(taken), "low": min(taken), "high": max(taken)}
            for name, taken in times.items()
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="some of %(default)s")
    parser.add_argument("--seconds", type=float, default=230, help="nothing new begins after so many")
    parser.add_argument("--only", default="", help="only what has this in its name")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="%(default)s")
    parser.add_argument("--try", action="store_true", dest="trial", help="small networks, few rounds: does it run?")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "benchmarks/results")))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    unknown = set(arguments.parts.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as scratch:
        device = torch.device(arguments.device)
        bench = Bench(device, arguments.trial, arguments.seconds, arguments.only, arguments.out, Path(scratch))
        print(bench.found, flush=True)
        started = time.perf_counter()
        for part in arguments.parts.split(","):
            PARTS[part](bench)
            bench.note(f"{part}/done_after_s", time.perf_counter() - started)


# What everything is measured on --------------------------------------------------------------------------------------


def made_up_images(bench: Bench, count: int, height: int, width: int) -> MappedStore:
    """Smooth random pictures with some noise, in files as a study's are."""

    def draw() -> Iterator[np.ndarray]:
        random = np.random.default_rng(0)
        for _ in range(count):
            coarse = torch.from_numpy(random.uniform(0, 1, (1, 3, 8, 8)))
            smooth = nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0].permute(1, 2, 0).numpy()
            noisy = smooth + random.normal(0, random.uniform(0, 0.1), smooth.shape)
            yield (255 * noisy.clip(0, 1)).astype(np.uint8)

    return build_store(bench.scratch / f"{count}x{height}x{width}", draw())


def rows_of(count: int, split: str = "train") -> pd.DataFrame:
    names = [f"i{i}" for i in range(count)]
    mos = np.random.default_rng(1).uniform(0, 100, count)
    return pd.DataFrame({"index": range(count), "image": names, "content": names, "split": split, "mos": mos})


def fresh_model(bench: Bench, name: str) -> Scorer:
    """The same each time; made once, as a ViT takes seconds to draw."""
    if name not in bench.fresh:
        torch.manual_seed(0)
        bench.fresh[name] = create_model(name, size=bench.size, pretrained=False)
    return copy.deepcopy(bench.fresh[name])


def training_of(
    bench: Bench,
    published: Published,
    *,
    model: Scorer | None = None,
    images: int | None = None,
    lam: float | None = None,
    stage: Mapping[str, Any] | None = None,
    **recipe: Any,
) -> Training:
    """The product's own training of a baseline, on a copy of `model`; `recipe` over the published one."""
    count = images or 2 * published.batch + published.batch // 2
    chosen: dict[str, Any] = {"name": "train", "epochs": 100, "optimizer": "adam", "weight_decay": 5e-4}
    chosen |= {"lr": published.lr, "batch_size": published.batch, **(stage or {})}
    config = TrialConfig(
        trial="t000",
        model=published.model,
        size=bench.size,
        recipe=Recipe(stages=(Stage(**chosen),), **{**published.recipe, **recipe}),
        lam=published.lam if lam is None else lam,
        step_size=STEP_SIZE,
        seed=0,
        attacks={"fgsm": FGSM},
    )
    start = fresh_model(bench, published.model) if model is None else copy.deepcopy(model)
    return Training(start, config, made_up_images(bench, count, *published.side), rows_of(count), bench.device)


# Checks --------------------------------------------------------------------------------------------------------------


def checks(bench: Bench) -> None:
    """Recorded steps compute what eager ones do, and how far low precision moves penalty and gradient."""
    for published in bench.baselines:
        control = published.model in ("hyperiqa", "maniqa")
        bench.item(
            f"checks/graph/{published.model}",
            partial(graph_against_eager, bench, published, control=control),
        )
    hyperiqa = bench.baselines[0]
    variants: dict[str, dict[str, Any]] = {
        "sgd_head_only": {"stage": {"optimizer": "sgd", "trains": "head", "lr": 1e-3}},
        "new_optimizer_each_epoch": {"stage": {"rebuild_optimizer": True}},
        "adamw_cosine_bf16": {"stage": {"optimizer": "adamw", "schedule": "cosine"}, "precision": "bf16"},
        "plain": {"lam": 0.0},
    }
    for name, changes in variants.items():
        bench.item(
            f"checks/graph/{name}",
            partial(graph_against_eager, bench, hyperiqa, control=False, **changes),
        )
    bench.item("checks/resume", partial(resumed_against_straight, bench, bench.baselines[0]))
    for published in bench.baselines:
        bench.item(
            f"checks/precision/{published.model}",
            partial(precision_errors, bench, published, fresh_model(bench, published.model)),
        )
    bench.item(
        "checks/precision/hyperiqa_trained", partial(precision_errors, bench, hyperiqa, trained_model(bench, hyperiqa))
    )


def graph_against_eager(bench: Bench, published: Published, *, control: bool = True, **changes: Any) -> dict[str, Any]:
    """Two epochs of two whole batches and a part of one, recorded, eager and eager again, in fp32 unless said."""
    start = fresh_model(bench, published.model)
    changes = {"precision": "fp32", **changes}

    def trained(graphs: bool) -> Training:
        training = training_of(bench, published, model=start, graphs=graphs, **changes)
        for _ in range(2):
            training.run_epoch()
        return training

    with deterministic():
        recorded, eager = trained(True), trained(False)
        found: dict[str, Any] = {"recorded": bool(recorded._recorded), **differences(recorded, eager, start)}
        del recorded
        if control:
            found["eager_again"] = differences(trained(False), eager, start)
    bound = AGREES if changes["precision"] == "fp32" else 1e-2
    found["agrees"] = all(found[part] < bound for part in ("weights", "buffers"))
    return found


def resumed_against_straight(bench: Bench, published: Published) -> dict[str, float]:
    """Two epochs in one go, and with a checkpoint on disk in between."""
    start = fresh_model(bench, published.model)
    straight, first, second = (training_of(bench, published, model=start) for _ in range(3))
    with deterministic():
        straight.run_epoch()
        straight.run_epoch()
        first.run_epoch()
        torch.save(first.state_dict(), bench.scratch / "checkpoint.pt")
        state = torch.load(bench.scratch / "checkpoint.pt", map_location=bench.device, weights_only=True)
        second.load_state_dict(state)
        second.run_epoch()
    return differences(second, straight, start)


def differences(a: Training, b: Training, start: Scorer) -> dict[str, float]:
    """Relative distances of what `a` and `b` trained; `updates` is measured in how far `b` went from `start`."""
    of_a, of_b = (dict(training.model.named_parameters()) for training in (a, b))
    begun = dict(start.to(b.device).named_parameters())
    buffers_a, buffers_b = (
        [value.float() for value in training.model.buffers() if value.is_floating_point()] for training in (a, b)
    )
    moments_a, moments_b = (_moments(training) for training in (a, b))
    return {
        "weights": _distance(of_a.values(), of_b.values()),
        "updates": _distance((of_a[name] - begun[name] for name in of_b), (of_b[name] - begun[name] for name in of_b)),
        "buffers": _distance(buffers_a, buffers_b),
        "first_moments": _distance(moments_a, moments_b),
    }


def _moments(training: Training) -> list[Tensor]:
    state = training.state_dict()["optimizer"]["state"]
    return [
        values[key]
        for _, values in sorted(state.items())
        for key in ("exp_avg", "momentum_buffer")
        if values.get(key) is not None
    ]


@torch.no_grad()
def _distance(a: Iterable[Tensor], b: Iterable[Tensor]) -> float:
    apart, size = 0.0, 0.0
    for x, y in zip(a, b, strict=True):
        apart += float((x.double() - y.double()).square().sum())
        size += float(y.double().square().sum())
    return (apart / size) ** 0.5 if size else 0.0


@contextmanager
def deterministic() -> Iterator[None]:
    """cuDNN's reproducible algorithms only, so that two trainings differ by what is to be seen."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


def trained_model(bench: Bench, published: Published) -> Scorer:
    """After some NT training, so that its gradients are small where the penalty made them so."""
    training = training_of(bench, published, images=10 * published.batch, precision="tf32")
    for _ in range(1 if bench.small else 15):
        training.run_epoch()
    return training.model


def precision_errors(bench: Bench, published: Published, model: Scorer) -> dict[str, Any]:
    """Of the penalty (relative) and of its parameter gradient (cosine, relative length), against float64, by step size.

    `fp16` is the body in float16, with more digits and less range, which the product does not offer.
    """
    store = made_up_images(bench, 4, *published.side)
    pixels = to_unit_range(store.batch(range(4)).to(bench.device))
    model = model.to(bench.device).train()
    for module in model.modules():
        if "Drop" in type(module).__name__ or "StochasticDepth" in type(module).__name__:
            module.eval()  # its random numbers would differ between the precisions
    buffers = copy.deepcopy(dict(model.named_buffers()))
    found: dict[str, Any] = {}
    for step_size in (0.003, 0.01, 0.03):
        exact = _penalty_and_gradient(copy.deepcopy(model).double(), pixels.double(), step_size)
        for name in ("fp32", "conv_tf32", "tf32", "bf16", "fp16"):
            with torch.no_grad():
                for key, value in model.named_buffers():
                    value.copy_(buffers[key])
            precision: Precision = "bf16" if name == "fp16" else name  # type: ignore[assignment]
            with computing_in(precision, model):
                if name == "fp16":
                    model.autocast_to = torch.float16
                penalty, gradient = _penalty_and_gradient(model, pixels, step_size)
            found[f"{name} h={step_size:g}"] = {
                "penalty": penalty / exact[0] - 1,
                "cosine": float(torch.nn.functional.cosine_similarity(gradient, exact[1], dim=0)),
                "length": float(gradient.norm() / exact[1].norm() - 1),
            }
    return found | {"penalty_fp64_h=0.03": exact[0], "parameters_without_gradient": _without_gradient(model, pixels)}


def _penalty_and_gradient(model: Scorer, pixels: Tensor, step_size: float) -> tuple[float, Tensor]:
    inputs = model.normalise(pixels).contiguous(memory_format=torch.channels_last)
    _, penalty = nt_penalty(model.outputs, inputs, step_size)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(penalty, parameters, allow_unused=True)
    flat = [
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(parameters, gradients, strict=True)
    ]
    return float(penalty.detach()), torch.cat([gradient.flatten().double() for gradient in flat])


def _without_gradient(model: Scorer, pixels: Tensor) -> int:
    """Tensors that the score does not depend on, such as a ViT's last blocks; the gradients above are zero there."""
    outputs = final_scores(model.outputs(model.normalise(pixels)))
    return sum(g is None for g in torch.autograd.grad(outputs.sum(), list(model.parameters()), allow_unused=True))


# Steps ---------------------------------------------------------------------------------------------------------------


def steps(bench: Bench) -> None:
    """ms per step: eager and recorded, by precision, plain and NT, and the authors' form of the NT step."""
    for published in bench.baselines:
        start = fresh_model(bench, published.model)
        for kind, lam in (("nt", published.lam), ("plain", 0.0)):
            bench.item(
                f"steps/{published.model}_b{published.batch}/{kind}",
                partial(step_times, bench, published, lam, start),
            )


def step_times(bench: Bench, published: Published, lam: float, start: Scorer) -> dict[str, Any]:
    images = made_up_images(bench, published.batch, *published.side).batch(range(published.batch)).to(bench.device)
    targets = torch.rand(published.batch, device=bench.device) * 100
    variants: dict[str, Callable[[], object]] = {}
    refused: dict[str, Any] = {}
    for precision in ("conv_tf32", *bench.precisions):
        training = training_of(bench, published, model=start, lam=lam, precision=precision)
        training.model.train()
        stage = training.config.stages[0]
        training._optimizer_of(stage, 0)
        variants[f"eager {precision}"] = _in_precision(training, training._step, images, targets)
        if lam and precision == "conv_tf32":
            plain = training_of(bench, published, model=start, lam=0.0)
            plain.model.train()
            plain._optimizer_of(stage, 0)
            variants["plain conv_tf32"] = _in_precision(plain, plain._step, images, targets)
        if lam and (precision != "conv_tf32" or not bench.precisions):
            authors = _authors_step(training)
            variants[f"authors {precision}"] = _in_precision(training, authors, images, targets)
        if precision != "conv_tf32":
            with computing_in(precision, training.model):
                recorded = training._recorded_steps(stage)
            if not recorded:
                refused[f"graph {precision}"] = {"failed": "not recorded; the log says why"}
            else:
                variants[f"graph {precision}"] = _in_precision(training, recorded[0], images, targets)
    found = refused | bench.in_turns(variants)
    medians = {name: value["median"] for name, value in found.items() if "median" in value}
    best = min(median for name, median in medians.items() if not name.startswith("plain "))
    found["views_per_s_of_best"] = 1e3 * published.batch / best
    found["eager conv_tf32 / best"] = medians["eager conv_tf32"] / best
    return found


def _in_precision(
    training: Training, step: Callable[[Tensor, Tensor], object], images: Tensor, targets: Tensor
) -> Callable[[], object]:
    def run() -> object:
        with computing_in(training.config.recipe.precision, training.model):
            return step(images, targets)

    return run


def _authors_step(training: Training) -> Callable[[Tensor, Tensor], object]:
    """The released code's step: gradient, both ends of the difference and the loss each with a pass of their own."""
    model, optimizer, config = training.model, training._optimizer, training.config
    assert optimizer is not None

    def step(images: Tensor, targets: Tensor) -> None:
        inputs = model.normalise(to_unit_range(images)).contiguous(memory_format=torch.channels_last)
        leaf = inputs.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(final_scores(model.outputs(leaf)).sum(), leaf)
        here = final_scores(model.outputs(inputs))
        there = final_scores(model.outputs(inputs + config.step_size * gradient.sign()))
        penalty = ((there - here) / config.step_size).square().mean() / 2
        loss = training.loss(model.outputs(inputs), targets) + config.lam * penalty
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


# Attacks -------------------------------------------------------------------------------------------------------------


def attacks(bench: Bench) -> None:
    """Input gradients a second, what FGSM and APGD cost, and whether APGD in low precision is as strong."""
    published = bench.baselines[0]
    try:
        model = trained_model(bench, published).eval()
    except Exception as error:
        bench.note("attacks", {"failed": f"{type(error).__name__}: {str(error)[:300]}"})
        return
    with undisturbed(model):
        fitting = fitting_batch_size(model, *published.side, at_most=10**6)
    bench.note("attacks/views_that_fit", fitting)
    for batch in (4, 8) if bench.small else (12, 64, 256):
        bench.item(f"attacks/input_gradients_per_s/b{batch}", partial(gradient_rates, bench, model, batch))
    bench.item("attacks/fgsm_probe_views_per_s", partial(probe_rates, bench, published, model))
    bench.item("attacks/apgd", partial(apgd_by_precision, bench, published, model))


def gradient_rates(bench: Bench, model: Scorer, batch: int) -> dict[str, Any]:
    pixels = torch.rand(batch, 3, model.input_spec.height, model.input_spec.width, device=bench.device)
    last = pixels.contiguous(memory_format=torch.channels_last)

    def gradients(precision: Precision, images: Tensor) -> Callable[[], object]:
        def run() -> object:
            with computing_in(precision, model):
                return input_gradient(model, images)

        return run

    with undisturbed(model):
        variants: dict[str, Callable[[], object]] = {
            str(name): gradients(name, pixels) for name in ("fp32", "conv_tf32", *bench.precisions)
        }
        variants |= {f"{name} channels_last": gradients(name, last) for name in ("fp32", *bench.precisions)}
        times = bench.in_turns(variants)
    return {name: 1e3 * batch / value["median"] if "median" in value else value for name, value in times.items()}


def probe_rates(bench: Bench, published: Published, model: Scorer) -> dict[str, float]:
    count = 4 if bench.small else 16
    store, rows = made_up_images(bench, count, *_whole_image(bench)), rows_of(count, "validation")
    views = count * (model.input_spec.crops or 1)
    found = {}
    for name, batch_size, precision in (
        ("as before, 12 at a time", 12, "conv_tf32"),
        ("conv_tf32", None, "conv_tf32"),
        ("scored in fp32", None, "bf16"),
    ):

        def run(batch_size: int | None = batch_size, precision: Any = precision) -> object:
            return probe(model, store, rows, create_attack(**FGSM), batch_size=batch_size, precision=precision)

        run()
        found[name] = views / bench.seconds(run, 1 if bench.small else 2)
    return found


def apgd_by_precision(bench: Bench, published: Published, model: Scorer) -> dict[str, Any]:
    """APGD on the same images in each precision, everything scored in fp32, and the difference per image to fp32's."""
    count = 3 if bench.small else 10
    store, rows = made_up_images(bench, count, *_whole_image(bench)), rows_of(count, "validation")
    params = {**APGD, "steps": 2, "restarts": 2} if bench.small else APGD
    found: dict[str, Any] = {}
    changes: dict[str, np.ndarray] = {}
    for precision in ("fp32", *bench.precisions):
        table = evaluate(model, store, rows, {"apgd": create_attack(**params)}, precision=precision)
        change = (table["attacked_score"] - table["clean_score"]).abs().to_numpy()
        views = count * (model.input_spec.crops or 1)
        changes[precision] = change
        more = change - changes["fp32"]
        found[precision] = {
            "rms_change": float(np.sqrt(np.mean(change**2))),
            "rms_of_fp32s": float(np.sqrt(np.mean(change**2) / np.mean(changes["fp32"] ** 2))),
            "mean_of_paired_difference": float(more.mean()),
            "its_standard_error": float(more.std(ddof=1) / len(more) ** 0.5),
            "views_per_s": views / float(table["seconds"].sum()),
        }
    return found


def _whole_image(bench: Bench) -> tuple[int, int]:
    return (64, 64) if bench.small else (500, 500)


# Epochs --------------------------------------------------------------------------------------------------------------


def epoch(bench: Bench) -> None:
    """Views a second of whole epochs of HyperIQA, as the product runs them."""
    for kind, lam in (("nt", 1e-3), ("plain", 0.0)):
        for name, recipe in (
            ("eager conv_tf32", {"graphs": False}),
            ("graph conv_tf32", {"graphs": True}),
            ("graph tf32", {"graphs": True, "precision": "tf32"}),
            ("graph bf16", {"graphs": True, "precision": "bf16"}),
        ):
            bench.item(
                f"epoch/{kind}/{name}",
                partial(epoch_rate, bench, bench.baselines[0], lam, recipe),
            )
    bench.item("epoch/batches_alone", partial(loader_rate, bench, bench.baselines[0]))


def epoch_rate(bench: Bench, published: Published, lam: float, recipe: Mapping[str, Any]) -> dict[str, Any]:
    training = _with_whole_images(bench, published, lam, recipe)
    rows = [training.run_epoch() for _ in range(2)]
    first, second = (float(row["train_seconds"]) for row in rows)
    views = training._views_per_epoch()
    return {"views_per_s": views / second, "first_epoch_views_per_s": views / first, "steps": rows[1]["steps"]}


def loader_rate(bench: Bench, published: Published) -> float:
    training = _with_whole_images(bench, published, 0.0, {})
    return training._views_per_epoch() / bench.seconds(
        lambda: sum(1 for _ in training._batches(training.config.stages[0]))
    )


def _with_whole_images(bench: Bench, published: Published, lam: float, recipe: Mapping[str, Any]) -> Training:
    whole = dataclasses.replace(published, side=_whole_image(bench))
    crops = 2 if bench.small else 25
    images = 8 if bench.small else 48
    return training_of(bench, whole, images=images, lam=lam, crops_per_image=crops, **recipe)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


PARTS: dict[str, Callable[[Bench], None]] = {"checks": checks, "steps": steps, "epoch": epoch, "attacks": attacks}

if __name__ == "__main__":
    main()
