"""Is a data set held once per node, and does reading it ever keep a training step waiting?

    python benchmarks/bench_data.py [--images 930] [--processes 4]

Makes LIVEC-sized noise images (500x500), opens them in several processes at once and adds up their proportional set
size; then draws HyperIQA's 224x224 crops, 25 per image, and sets a batch's time against a training step on this CPU.
The same crops are drawn from JPEG files that are decoded on each read, as sets larger than memory are.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trainables.data.batches import training_batches
from trainables.data.encoded import EncodedStore, write_encoded
from trainables.data.store import ImageStore, MappedStore, Pixels, build_store
from trainables.models import create_model
from trainables.regularizer import nt_penalty

SIDE = 500
CROP = 224
CROPS_PER_IMAGE = 25
BATCH_SIZE = 32
STEP_BATCH = 4
"""Images in the training step that is timed; its time is scaled to `BATCH_SIZE`."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one mapping in one process: all resident pages, and its share of them."""

    rss: int
    pss: int


def mapped_memory(path: Path) -> Memory:
    """What the mapping of `path` costs this process, from /proc/self/smaps."""
    sections = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    kib = {"Rss": 0, "Pss": 0}
    for section in sections:
        if str(path) in section.splitlines()[0] if section else False:
            for field in kib:
                found = re.search(rf"(?m)^{field}:\s+(\d+) kB", section)
                kib[field] += int(found[1]) if found else 0
    return Memory(rss=kib["Rss"] * 1024, pss=kib["Pss"] * 1024)


def noise_images(count: int) -> Iterator[Pixels]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def read_everything(folder: Path, barrier: Barrier, results: multiprocessing.Queue[Memory]) -> None:
    """As a trial does: open the store, read every image; then measure while all the others hold theirs too."""
    store = MappedStore(folder)
    for i in range(len(store)):
        store[i].max()
    barrier.wait()
    results.put(mapped_memory(folder / "pixels.u8"))
    barrier.wait()


def memory_of_processes(folder: Path, count: int) -> list[Memory]:
    """Each of `count` processes' memory for the store, while all hold it."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(count), context.Queue()
    processes = [context.Process(target=read_everything, args=(folder, barrier, results)) for _ in range(count)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return found


def encoded_store(folder: Path, store: MappedStore) -> EncodedStore:
    """The images of `store` as files of their own. Smoothed first: noise is slower to decode than any photograph."""
    paths = [f"{i}.jpg" for i in range(len(store))]
    for i, path in enumerate(paths):
        small = Image.fromarray(store[i]).resize((SIDE // 8, SIDE // 8))
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / path, quality=95)
    write_encoded(folder, folder, paths, None, [(SIDE, SIDE)] * len(paths))
    return EncodedStore(folder)


def seconds_per_batch(store: ImageStore, batches: int) -> float:
    """Mean wall time of one batch of crops in a warm epoch, in seconds."""
    epoch = training_batches(
        store,
        range(len(store)),
        [0.0] * len(store),
        height=CROP,
        width=CROP,
        mode="crop",
        batch_size=BATCH_SIZE,
        seed=0,
        epoch=0,
        crops_per_image=CROPS_PER_IMAGE,
    )
    return _seconds(lambda: next(epoch), repeats=batches)


def seconds_per_step(lam: float) -> float:
    """Wall time of one HyperIQA training step of `BATCH_SIZE` images with penalty weight `lam`, in seconds."""
    model = create_model("hyperiqa", size="paper", pretrained=False).train()
    images = torch.rand(STEP_BATCH, 3, CROP, CROP)

    def step() -> None:
        inputs = model.normalise(images)
        if lam > 0:
            scores, penalty = nt_penalty(model.outputs, inputs, 0.01)
            loss = scores.abs().mean() + lam * penalty
        else:
            loss = model.outputs(inputs).abs().mean()
        model.zero_grad()
        loss.backward()

    return _seconds(step, repeats=2) * BATCH_SIZE / STEP_BATCH


def _seconds(action: Callable[[], object], *, repeats: int) -> float:
    action()
    started = time.perf_counter()
    for _ in range(repeats):
        action()
    return (time.perf_counter() - started) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=930)
    parser.add_argument("--processes", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        store = build_store(Path(folder) / "store", noise_images(arguments.images))
        decoded = int(store.sizes.prod(axis=1).sum()) * 3
        memory = memory_of_processes(store.folder, arguments.processes)
        print(f"decoded bytes                        {decoded / 1e6:8.0f} MB")
        print(f"resident in {len(memory)} processes, RSS summed   {sum(m.rss for m in memory) / 1e6:8.0f} MB")
        print(f"resident in {len(memory)} processes, PSS summed   {sum(m.pss for m in memory) / 1e6:8.0f} MB")
        mapped = seconds_per_batch(store, batches=200)
        encoded = seconds_per_batch(encoded_store(Path(folder), store), batches=20)
    print(f"batch of {BATCH_SIZE} crops {CROP}x{CROP}, mapped    {mapped * 1e3:8.1f} ms")
    print(f"the same from JPEG files             {encoded * 1e3:8.1f} ms")
    num_batches = arguments.images * CROPS_PER_IMAGE / BATCH_SIZE
    print(f"warm epoch, {arguments.images} images x {CROPS_PER_IMAGE} crops     {num_batches * mapped:8.1f} s mapped")
    for name, lam in (("without penalty", 0.0), ("with NT penalty", 1e-3)):
        step = seconds_per_step(lam)
        print(
            f"training step, {name}       {step * 1e3:8.0f} ms; its batch takes {mapped / step:.2%} of that mapped, "
            f"{encoded / step:.2%} from files"
        )


if __name__ == "__main__":
    main()
