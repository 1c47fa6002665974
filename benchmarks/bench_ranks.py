"""Attacks on a ranking, and maximum differentiation, on small trained models: the figures in docs/attacks.md.

    python -m benchmarks.bench_ranks

`soft pairs` is what the choice of scores is compared with: sign steps on the images of the whole set at once along a
smooth Kendall correlation (tanh of the score differences), as one would write it for a set that fits into memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.audit.models import LAMS, Genuine, data
from trainables.attacks import create_attack
from trainables.attacks.base import clean_pass
from trainables.attacks.constraint import project
from trainables.metrics import krocc, rmse, srocc
from trainables.models.scorer import Scorer
from trainables.ssim import ssim

EPS = 0.005
IMAGES = 128
STEPS = 20
TEMPERATURES = (0.1, 0.3, 1.0)
"""Of tanh, in standard deviations of the clean scores."""


def main() -> None:
    torch.set_num_threads(1)
    store, rows = data()
    validation = rows[rows["split"] == "validation"].sort_values("image")
    chosen = validation.iloc[:: max(1, len(validation) // IMAGES)].head(IMAGES)
    images = torch.stack([torch.from_numpy(store[int(i)]).permute(2, 0, 1) for i in chosen["index"]]).float() / 255
    mos = torch.from_numpy(chosen["mos"].to_numpy())
    plain = Genuine("hyperiqa", 0.0, 0).model(store, rows)
    for lam in (0.0, LAMS["hyperiqa"][1]):
        model = plain if lam == 0 else Genuine("hyperiqa", lam, 0).model(store, rows)
        print(
            f"λ {lam:g}, {len(images)} images, eps {EPS}: SROCC and KROCC clean-attacked, MOS-attacked; RMSE; seconds"
        )
        print(f"  clean: MOS {srocc(mos, scores(model, images)):.3f} {krocc(mos, scores(model, images)):.3f}")
        for name, params in ATTACKS.items():
            attack = create_attack(name.split()[0], eps=EPS, **params)
            report(name, model, images, mos, partial(attack, mos=mos.float()))
        for temperature in TEMPERATURES:
            report(f"soft pairs at {temperature}", model, images, mos, partial(soft_pairs, temperature=temperature))
        differentiate(model, plain, images)


ATTACKS: dict[str, dict[str, object]] = {
    "noise": {},
    "fgsm": {},
    "apgd one run": {"steps": STEPS, "restarts": 1},
    "apgd both directions": {"steps": STEPS, "restarts": 1, "direction": "two_sided"},
    "rank 1 level": {"steps": STEPS, "levels": 1},
    "rank": {"steps": STEPS},
    "rank 8 levels": {"steps": STEPS, "levels": 8},
    "rank against MOS": {"steps": STEPS, "reference": "mos"},
    "square 300 queries": {"queries": 300},
    "rank_square 300 queries": {"queries": 300},
}


def report(name: str, model: Scorer, images: Tensor, mos: Tensor, attack: Callable[[Scorer, Tensor], Tensor]) -> None:
    started = time.process_time()
    found = attack(model, images)
    seconds = time.process_time() - started
    before, after = scores(model, images), scores(model, found)
    print(
        f"  {name}: {srocc(before, after):.3f} {krocc(before, after):.3f}, {srocc(mos, after):.3f} "
        f"{krocc(mos, after):.3f}; {rmse(before, after):.2f}; {seconds:.0f} s",
        flush=True,
    )


def soft_pairs(model: Scorer, images: Tensor, temperature: float) -> Tensor:
    """The iterate of `STEPS` sign steps whose order of scores agrees least with that of the clean ones."""
    clean = clean_pass(model, images)
    order, width = (clean.score[:, None] - clean.score).sign(), temperature * clean.score.std()
    # From the clean images the smooth correlation falls along L_mid's direction about the median for every image.
    current, best, lowest = images, images, 1.0
    for _ in range(STEPS + 1):
        at = clean_pass(model, current)
        agreement = krocc(clean.score, at.score)
        if agreement < lowest:
            best, lowest = current, agreement
        slope = (order * (1 - ((at.score[:, None] - at.score) / width).tanh().square())).sum(1)
        current = project(current - EPS / 5 * slope.sign().view(-1, 1, 1, 1) * at.gradient.sign(), images, EPS)
    return best


def differentiate(model: Scorer, plain: Scorer, images: Tensor) -> None:
    """Best and worst image of equal score of the model without NT, of equal PSNR and of equal SSIM."""
    measures: dict[str, Callable[[Tensor], Tensor]] = {
        "source": plain,
        "mse": lambda found: -10 * (found - images).square().mean((1, 2, 3)).log10(),
        "ssim": lambda found: ssim(images, found),
    }
    for hold, measure in measures.items():
        if hold == "source" and model is plain:
            continue
        started = time.process_time()
        up, down = (
            create_attack("mad", source=plain, hold=hold, eps=EPS, direction=direction)(model, images)
            for direction in ("up", "down")
        )
        with torch.no_grad():
            apart = (scores(model, up) - scores(model, down)).mean()
            held = (measure(up) - measure(down)).abs().mean()
            plain_apart = (scores(plain, up) - scores(plain, down)).mean()
        print(
            f"  mad, {hold} held: best and worst image {apart:.2f} points apart (the model without NT: "
            f"{plain_apart:.2f}), {held:.4f} in what is held; {time.process_time() - started:.0f} s",
            flush=True,
        )


def scores(model: Scorer, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(part) for part in images.split(64)])


if __name__ == "__main__":
    main()
