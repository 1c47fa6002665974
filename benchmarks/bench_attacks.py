"""What attacks cost, as ratios within one run.

    python benchmarks/bench_attacks.py [--images 320] [--repeats 5] [--threads 1]

Prints how much faster batched FGSM is than the authors' loop over single images, what a cached black-box attack costs
beside scoring the clean images, and the seconds per 100 images of every attack. Small HyperIQA on 64x64 images; its
weights are random, which does not change the cost.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from trainables.adversaries import make_adversaries
from trainables.attacks import create_attack
from trainables.attacks.base import clean_pass
from trainables.evaluate import clean_scores, evaluate
from trainables.models import create_model
from trainables.models.scorer import Scorer
from trainables.surrogates import Surrogate

SIDE = 64
EPS = 0.005
BATCH_SIZE = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=320, help="the embedded data's test split has 320")
    parser.add_argument("--repeats", type=int, default=5, help="each time is the shortest of so many")
    parser.add_argument("--threads", type=int, default=1, help="trials run with one thread each")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = create_model("hyperiqa", size="small").eval()
    pixels = np.random.default_rng(0).integers(0, 256, (arguments.images, SIDE, SIDE, 3), dtype=np.uint8)
    rows = pd.DataFrame(
        {
            "index": range(len(pixels)),
            "image": [str(i) for i in range(len(pixels))],
            "content": "noise",
            "split": "test",
            "mos": np.linspace(0, 100, len(pixels)),
            "sha256": [f"{i:064x}" for i in range(len(pixels))],
        }
    )
    print(f"{len(pixels)} images of {SIDE}x{SIDE}, small HyperIQA, {torch.get_num_threads()} threads\n")

    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    one_by_one, batched = shortest_in_turns(
        lambda: fgsm_one_by_one(model, images), lambda: fgsm_batched(model, images), arguments.repeats
    )
    print(f"FGSM, images one at a time  {one_by_one:8.2f} s")
    print(
        f"FGSM, batches of {BATCH_SIZE}         {batched:8.2f} s   {one_by_one / batched:.1f} times faster (target 3)\n"
    )

    substitute = create_model("resnet50_substitute", size="small").eval()
    surrogate = Surrogate(name="stand-in", model=substitute, fingerprint="random", trained_on=frozenset())
    with tempfile.TemporaryDirectory() as cache:
        noise = 0.1 * torch.randn(3, SIDE, SIDE).clamp(-1, 1)
        cached = make_adversaries("uap", pixels, rows, surrogate, cache_dir=Path(cache), perturbation=noise)
        clean, replayed = shortest_in_turns(
            lambda: clean_scores(model, pixels, rows), lambda: clean_scores(model, cached, rows), arguments.repeats
        )
    print(f"scoring the clean images    {clean:8.3f} s")
    print(f"scoring cached adversaries  {replayed:8.3f} s   {replayed / clean:.2f} times a clean pass (target 1.1)\n")

    first = images[:BATCH_SIZE]
    print("attack                     s per 100 images, beyond the clean pass that all share")
    print(f"{'(clean pass and gradient)':26} {100 * timed(lambda: clean_pass(model, first)) / len(first):8.3f}")
    attacks = {
        "fgsm": create_attack("fgsm"),
        "ifgsm, 10 steps": create_attack("ifgsm", steps=10),
        "apgd, 20 steps, 3 restarts": create_attack("apgd"),
        "noise": create_attack("noise"),
        "perceptual, 20 steps": create_attack("perceptual", steps=20),
        "uap": create_attack("uap", perturbation=noise),
        "kor (on its substitute)": create_attack("transfer", source=substitute, attack=create_attack("kor")),
    }
    for label, attack in attacks.items():
        some = evaluate(model, pixels, rows.iloc[:BATCH_SIZE], {label: attack})
        print(f"{label:26} {100 * some['seconds'].mean():8.3f}")


def fgsm_one_by_one(model: Scorer, images: Tensor) -> None:
    """The shape of the authors' loop: a reference score, a full backward pass and an attacked score for each image."""
    for image in images.split(1):
        reference = model(image).item()
        leaf = image.clone().requires_grad_()
        loss = model(leaf) if reference <= 50 else -model(leaf)
        model.zero_grad()
        loss.sum().backward()
        assert leaf.grad is not None
        with torch.no_grad():
            model((image + EPS * leaf.grad.sign()).clamp(0, 1))


def fgsm_batched(model: Scorer, images: Tensor) -> None:
    """The same work done as the evaluation does it: clean score and gradient in one pass, attacked score."""
    attack = create_attack("fgsm", eps=EPS)
    for batch in images.split(BATCH_SIZE):
        adversarial = attack(model, batch)
        with torch.no_grad():
            model(adversarial)


def shortest_in_turns(first: Callable[[], object], second: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Each one's shortest time; in turns, so that a busy machine disturbs both alike."""
    pairs = [(timed(first), timed(second)) for _ in range(repeats)]
    return min(times[0] for times in pairs), min(times[1] for times in pairs)


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
