"""The embedded data set: patches of real photographs, distorted, with a proxy score.

The photographs lie inside scikit-image, scikit-learn and this package. They are shrunk, which removes their own blur
and coding artefacts, cut into 64×64 patches with enough detail to judge, and distorted in eight ways and five levels.
Every photograph is one content and belongs to one part, so no photograph is seen in training and in a test.
"""

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from trainables.data import distortions, proxy_score
from trainables.data.cache import build_once
from trainables.data.distortions import DISTORTIONS, NUM_LEVELS, distort
from trainables.data.image_set import ImageSet
from trainables.data.proxy_score import proxy_scores, similarities
from trainables.data.store import MappedStore, Pixels, write_store
from trainables.seeding import derive_seed

PATCH = 64
"""Height and width of a patch, pixels."""
GRID = 32
"""Distance of neighbouring patches, pixels."""
MIN_ACTIVITY = 10.0
"""Least mean |horizontal| + |vertical| grey-level step; flatter patches do not show what was done to them."""
SEED = 0
SCORE_KIND = "proxy, 0..100: mean of HaarPSI and MDSI against the pristine patch; no human rated anything"

OWN = ("trainables", "data/photographs")
SKIMAGE = ("skimage", "data")
SKLEARN = ("sklearn", "datasets/images")


@dataclass(frozen=True, kw_only=True)
class Photo:
    """Where a photograph lies, which part it is for, how much it is shrunk, and what it may be used for."""

    package: tuple[str, str]
    file: str
    split: str
    scale: float
    licence: str
    author: str

    @property
    def name(self) -> str:
        return Path(self.file).stem

    def read(self) -> Pixels:
        """`(H, W, 3)` uint8, shrunk."""
        package, folder = self.package
        spec = importlib.util.find_spec(package)
        places = spec.submodule_search_locations if spec else None
        if not places:
            raise ValueError(f"the embedded photograph {self.file} ships in {package}, which is not installed")
        with Image.open(Path(places[0]) / folder / self.file) as image:
            size = (round(image.width * self.scale), round(image.height * self.scale))
            return np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))


def _photos() -> tuple[Photo, ...]:
    rows = [
        (SKIMAGE, "astronaut.png", "train", 0.5, "public domain", "NASA"),
        (SKIMAGE, "coffee.png", "train", 0.5, "CC0 1.0", "Rachel Michetti, Pikolo Espresso Bar"),
        (SKIMAGE, "camera.png", "train", 0.75, "CC0 1.0", "Lav Varshney"),
        (SKIMAGE, "brick.png", "train", 0.75, "CC0 1.0", "CC0Textures, Bricks25"),
        (SKIMAGE, "gravel.png", "train", 0.75, "CC0 1.0", "CC0Textures, Gravel04"),
        (SKLEARN, "flower.jpg", "train", 0.5, "CC BY 2.0", "vultilion, Flickr photo 6056698931"),
        (OWN, "brushes.png", "train", 1.0, "CC BY 4.0", 'Trevor "Freespace"'),
        (OWN, "dandelion.png", "train", 1.0, "CC0 1.0", "Clemens Engelhardt"),
        (OWN, "hillside.png", "train", 1.0, "CC BY 4.0", "Aitzol Berasategi"),
        (OWN, "stream.png", "train", 1.0, "CC BY 4.0", "Aitzol Berasategi"),
        (SKIMAGE, "coins.png", "validation", 0.75, "no known copyright restrictions", "Brooklyn Museum Collection"),
        (OWN, "dogs.png", "validation", 1.0, "CC BY 4.0", "Aitzol Berasategi"),
        (OWN, "fig.png", "validation", 1.0, "CC BY 4.0", 'Trevor "Freespace"'),
        (OWN, "sunset.png", "validation", 1.0, "CC BY 4.0", "Aitzol Berasategi"),
        (SKIMAGE, "chelsea.png", "test", 0.5, "CC0 1.0", "Stefan van der Walt"),
        (SKIMAGE, "grass.png", "test", 0.75, "CC0 1.0", "LinoLafett (DeviantArt, Grass 01)"),
        (
            SKLEARN,
            "china.jpg",
            "test",
            0.5,
            "CC BY 2.0",
            "danielbuechele, Flickr photo 6061409035",
        ),
        (OWN, "drum.png", "test", 1.0, "CC BY 4.0", "Jakub Mede"),
        (OWN, "mountains.png", "test", 1.0, "CC BY 4.0", "Aitzol Berasategi"),
    ]
    names = ("package", "file", "split", "scale", "licence", "author")
    return tuple(Photo(**dict(zip(names, row, strict=True))) for row in rows)  # type: ignore[arg-type]


PHOTOS = _photos()
"""Every photograph in use, with its licence as its package states it."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is made from each photograph of a part: at most `patches`, and `versions` of each patch."""

    patches: dict[str, int]
    versions: dict[str, int]


_VERSIONS = {"train": 10, "validation": 4, "test": 4}

SIZES = {
    "": Size(patches={"train": 43, "validation": 16, "test": 16}, versions=_VERSIONS),
    "small": Size(patches={"train": 21, "validation": 16, "test": 16}, versions=_VERSIONS),
}


def open_photos(size: str, cache_dir: Path) -> ImageSet:
    """The embedded set in one of `SIZES`, made on first use in a few seconds and then kept under `cache_dir`."""
    if size not in SIZES:
        known = ", ".join(f"photos:{name}" if name else "photos" for name in SIZES)
        raise ValueError(f"there is no data set 'photos:{size}'; the embedded sets are {known}")
    folder = build_once(cache_dir / f"photos-{_recipe_digest(size)}", lambda part: write_photos(part, SIZES[size]))
    return ImageSet(
        name="photos",
        spec=f"photos:{size}" if size else "photos",
        table=pd.read_parquet(folder / "table.parquet"),
        store=MappedStore(folder),
        score_kind=SCORE_KIND,
    )


def write_photos(folder: Path, size: Size) -> None:
    """Write pixels, labels (`table.parquet`) and a `manifest.json` that says how they were made."""
    rows: list[dict[str, object]] = []
    patches: list[Pixels] = []
    references: list[Pixels] = []
    for row, patch, reference in make_patches(size):
        rows.append(row)
        patches.append(patch)
        references.append(reference)
    table = pd.DataFrame(rows)
    is_training = (table["split"] == "train").to_numpy()
    # Rounded where float32 arithmetic differs between processors.
    table.insert(1, "mos", proxy_scores(similarities(patches, references), is_training).round(2))
    write_store(folder, patches)
    table.to_parquet(folder / "table.parquet", index=False)
    manifest = {"score": SCORE_KIND, "seed": SEED, "versions": _versions(), "photos": [p.__dict__ for p in PHOTOS]}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


def make_patches(size: Size) -> Iterator[tuple[dict[str, object], Pixels, Pixels]]:
    """Table row, distorted patch and its pristine reference, in a fixed order."""
    for photo in PHOTOS:
        references = choose_patches(photo.read(), size.patches[photo.split])
        for i, reference in enumerate(references):
            rng = np.random.default_rng(derive_seed(SEED, photo.name, i))
            for distortion, level in draw_versions(size.versions[photo.split], rng):
                patch = distort(reference, distortion, level, rng) if level else reference
                row = {
                    "image": f"{photo.name}-{i:02d}-{distortion}-{level}",
                    "content": photo.name,
                    "sha256": hashlib.sha256(patch.tobytes()).hexdigest(),
                    "split": photo.split,
                    "distortion": distortion,
                    "level": level,
                }
                yield row, patch, reference


def choose_patches(photo: Pixels, count: int) -> list[Pixels]:
    """Up to `count` patches from the grid, spread evenly over the ranking by activity of those active enough."""
    height, width, _ = photo.shape
    corners = [(y, x) for y in range(0, height - PATCH + 1, GRID) for x in range(0, width - PATCH + 1, GRID)]
    patches = [photo[y : y + PATCH, x : x + PATCH] for y, x in corners]
    activities = np.array([activity(patch) for patch in patches])
    ranking = [i for i in np.argsort(activities, kind="stable") if activities[i] > MIN_ACTIVITY]
    ranks = np.unique(np.linspace(0, len(ranking) - 1, count).round().astype(int))
    return [np.ascontiguousarray(patches[ranking[rank]]) for rank in ranks]


def activity(patch: Pixels) -> float:
    """Mean absolute step to the right plus mean absolute step downwards, in grey levels."""
    grey = np.asarray(Image.fromarray(patch).convert("L"), dtype=np.float64)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def draw_versions(count: int, rng: np.random.Generator) -> list[tuple[str, int]]:
    """`count` different (distortion, level) pairs; ("reference", 0) is one of those that can be drawn."""
    pairs = [("reference", 0), *((name, level) for name in DISTORTIONS for level in range(1, NUM_LEVELS + 1))]
    return [pairs[i] for i in rng.choice(len(pairs), size=count, replace=False)]


def _versions() -> dict[str, str]:
    packages = ("numpy", "pillow", "piq", "scikit-image", "scikit-learn", "scipy", "torch")
    return {package: version(package) for package in packages}


def _recipe_digest(size: str) -> str:
    """Changes with anything that decides the bytes: this code, the packages' versions, the size."""
    digest = hashlib.sha256(json.dumps([size, _versions()]).encode())
    for module in (__file__, distortions.__file__, proxy_score.__file__):
        digest.update(Path(module).read_bytes())
    return digest.hexdigest()[:16]
