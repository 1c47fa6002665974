"""Auto-PGD and Square beside an established library's, on the same models and images.

    pip install --no-deps --target DIR torchattacks
    PYTHONPATH=DIR python benchmarks/bench_beside_library.py

The library attacks classifiers. A score becomes two logits, K - sign * (score - 50) / 20 and 0 with a K that is never
reached, so that its losses rise with sign * score and none of its attacks stops early. torchattacks 3.5.1 is no
dependency of this project; the figures are in docs/attacks.md. Says so and ends where the library is not there.
"""

from __future__ import annotations

import importlib
import importlib.util
import time

import torch
from torch import Tensor, nn

from benchmarks.audit.models import LAMS, Genuine, data
from trainables.attacks import create_attack
from trainables.attacks.direction import sign_mid
from trainables.models.scorer import Scorer

EPS = 0.005
IMAGES = 32
SEEDS = (0, 1, 2)
STEPS = (10, 20)
QUERIES = (100, 300)
NEVER = 8.0


class TwoLogits(nn.Module):
    """(N, 2) logits whose first falls as sign * score rises, and stays the larger one."""

    def __init__(self, model: Scorer, sign: float) -> None:
        super().__init__()
        self.model = model
        self.sign = sign

    def forward(self, images: Tensor) -> Tensor:
        first = NEVER - self.sign * (self.model(images) - 50) / 20
        return torch.stack([first, torch.zeros_like(first)], dim=1)


def main() -> None:
    if importlib.util.find_spec("torchattacks") is None:
        print("torchattacks is not installed; this benchmark's docstring says how")
        return
    torch.set_num_threads(1)
    store, rows = data()
    validation = rows[rows["split"] == "validation"].sort_values("image")
    chosen = validation.iloc[:: len(validation) // IMAGES].head(IMAGES)
    images = torch.stack([torch.from_numpy(store[int(i)]).permute(2, 0, 1) for i in chosen["index"]]).float() / 255
    print(f"mean change in MOS points, {IMAGES} images, eps {EPS}; seeds {SEEDS}")
    for lam in (0.0, LAMS["hyperiqa"][1]):
        model = Genuine("hyperiqa", lam, 0).model(store, rows)
        for steps in STEPS:
            compare(f"λ {lam:g}, APGD, {steps} steps, 1 run", model, images, "apgd", steps)
        for queries in QUERIES:
            compare(f"λ {lam:g}, Square, {queries} queries", model, images, "square", queries)


def compare(title: str, model: Scorer, images: Tensor, name: str, budget: int) -> None:
    started = time.process_time()
    ours, theirs, further = [], [], []
    for seed in SEEDS:
        found, library = own(model, images, name, budget, seed), of_library(model, images, name, budget, seed)
        ours.append(found.mean().item())
        theirs.append(library.mean().item())
        further.append((found > library).float().mean().item())
    text = (", ".join(f"{value:.3f}" for value in values) for values in (ours, theirs))
    print(f"{title}: ours {next(text)}; library {next(text)}; ours further for {sum(further) / len(SEEDS):.0%} of the")
    print(f"  images, {time.process_time() - started:.0f} s", flush=True)


def own(model: Scorer, images: Tensor, name: str, budget: int, seed: int) -> Tensor:
    """(N,) absolute score changes. Auto-PGD's run begins at the clean image, the library's at random in the box."""
    if name == "square":
        attack = create_attack("square", eps=EPS, queries=budget, seed=seed)
    else:
        attack = create_attack("apgd", eps=EPS, steps=budget, restarts=1, seed=seed)
    return change(model, images, attack(model, images))


def of_library(model: Scorer, images: Tensor, name: str, budget: int, seed: int) -> Tensor:
    library = importlib.import_module("torchattacks")
    with torch.no_grad():
        sign = sign_mid(model(images))
    found = images.clone()
    for way in (1.0, -1.0):
        part = images[sign == way]
        if len(part) == 0:
            continue
        logits, labels = TwoLogits(model, way).eval(), torch.zeros(len(part), dtype=torch.long)
        torch.manual_seed(seed)
        if name == "square":
            attack = library.Square(logits, eps=EPS, n_queries=budget, seed=seed, loss="margin")
            attack.init_hyperparam(part)
            found[sign == way] = attack.attack_single_run(part, labels)[1]
        else:
            attack = library.APGD(logits, eps=EPS, steps=budget, seed=seed)
            found[sign == way] = attack.perturb(part, labels, best_loss=True)[1]
    assert (found - images).abs().max() <= EPS + 1e-6
    return change(model, images, found)


def change(model: Scorer, images: Tensor, adversarial: Tensor) -> Tensor:
    with torch.no_grad():
        return (model(adversarial) - model(images)).abs()


if __name__ == "__main__":
    main()
