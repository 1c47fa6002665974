"""Small releases in the exact layout of the real ones: real names (and LIVEC's real scores), generated images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import scipy.io
from PIL import Image

GOLDEN = Path(__file__).parent / "golden"


def write_image(path: Path, seed: int = 0, height: int = 12, width: int = 16, mode: str = "RGB") -> None:
    """A generated image of its own for every seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def write_images(folder: Path, names: Iterable[str], height: int = 12, width: int = 16) -> None:
    for seed, name in enumerate(names):
        write_image(folder / name, seed, height, width)


def livec_labels() -> pd.DataFrame:
    """The real `image`, `mos`, `std` of the 1162 images, in the release's order."""
    return pd.read_csv(GOLDEN / "livec_mos.csv", float_precision="round_trip")


def write_livec(root: Path, labels: pd.DataFrame | None = None, height: int = 12, width: int = 16) -> Path:
    """`ChallengeDB_release`: MATLAB files of 7 training images and then `labels`, and the images."""
    labels = livec_labels() if labels is None else labels
    names = [f"t{i}.bmp" for i in range(1, 8)] + list(labels["image"])
    cells = np.empty((len(names), 1), dtype=object)
    cells[:, 0] = names
    (root / "Data").mkdir(parents=True)
    variables = {
        "AllImages_release": cells,
        "AllMOS_release": np.r_[np.full(7, 50.0), labels["mos"]][None],
        "AllStdDev_release": np.r_[np.full(7, 20.0), labels["std"]][None],
    }
    for key, value in variables.items():
        scipy.io.savemat(root / "Data" / f"{key}.mat", {key: value})
    write_images(root / "Images", labels["image"], height, width)
    write_images(root / "Images" / "trainingImages", names[:7], height, width)
    return root


def write_koniq10k(root: Path, *, with_sets: bool = True, folder: str = "1024x768") -> Path:
    names = [f"{10004473376 + i}.jpg" for i in range(10)]
    table = pd.DataFrame({"image_name": names})
    for i in range(1, 6):
        table[f"c{i}"] = i
    table = table.assign(c_total=15, MOS=np.linspace(1.5, 4.5, 10), SD=0.5, MOS_zscore=np.linspace(12, 88, 10))
    write_images(root / folder, names)
    table.to_csv(root / "koniq10k_scores_and_distributions.csv", index=False)
    if with_sets:
        sets = ["training"] * 6 + ["validation"] * 2 + ["test"] * 2
        table[["image_name", "MOS", "SD"]].assign(set=sets).to_csv(
            root / "koniq10k_distributions_sets.csv", index=False
        )
    return root


def write_kadid10k(root: Path, references: int = 5, distortions: int = 3) -> Path:
    rows = [
        (f"I{r:02d}_{d:02d}_{level:02d}.png", f"I{r:02d}.png", round(4.9 - 0.7 * level + 0.01 * d, 2), 0.64)
        for r in range(1, references + 1)
        for d in range(1, distortions + 1)
        for level in range(1, 6)
    ]
    write_images(root / "images", [row[0] for row in rows] + [f"I{r:02d}.png" for r in range(1, references + 1)])
    pd.DataFrame(rows, columns=["dist_img", "ref_img", "dmos", "var"]).to_csv(root / "dmos.csv", index=False)
    return root


def write_tid2013(root: Path, references: int = 4) -> Path:
    lines = []
    for r in range(1, references + 1):
        letter = "i" if r % 2 else "I"
        for level in range(1, 4):
            # The folder and the label file disagree about case, as in the release.
            write_image(root / "distorted_images" / f"{letter}{r:02d}_01_{level}.bmp", 10 * r + level)
            lines.append(f"{6.5 - level + 0.1 * r:.5f} I{r:02d}_01_{level}.bmp")
        write_image(root / "reference_images" / f"I{r:02d}.BMP", r)
    (root / "mos_with_names.txt").write_text("\n".join(lines) + "\n")
    return root


def write_csiq(root: Path) -> Path:
    rows = [
        (f"{content}.{distortion}.{level}.png", round(0.1 * level + 0.01 * i, 6))
        for i, content in enumerate(["1600", "boston", "cactus", "child_swimming"])
        for distortion in ("AWGN", "BLUR")
        for level in (1, 2, 3)
    ]
    write_images(root / "dst_imgs_all", [name for name, _ in rows])
    write_images(root / "src_imgs", ["1600.png", "boston.png", "cactus.png", "child_swimming.png"])
    (root / "csiq_label.txt").write_text("".join(f"{name} {dmos}\n" for name, dmos in rows))
    return root


def write_spaq(root: Path) -> Path:
    names = [f"{i:05d}.jpg" for i in range(1, 7)]
    for seed, name in enumerate(names):
        height, width = (1000, 800) if seed % 2 else (600, 900)
        write_image(root / "TestImage" / name, seed, height=height, width=width)
    header = ["Image name", "MOS", "Brightness", "Colorfulness", "Contrast", "Noisiness", "Sharpness"]
    rows = [[name, 20.5 + 10 * i, 50, 50, 50, 50, 50] for i, name in enumerate(names)]
    write_workbook(root / "Annotations" / "MOS and Image attribute scores.xlsx", [header, *rows])
    return root


def write_bid(root: Path) -> Path:
    numbers = [1, 2, 5, 17, 585, 586]
    write_images(root, [f"DatabaseImage{number:04d}.JPG" for number in numbers])
    rows = [[number, 0.5 + 0.75 * i] for i, number in enumerate(numbers)]
    write_workbook(root / "DatabaseGrades.xlsx", [["Image Number", "Average Subjective Grade"], *rows])
    return root


def write_biq2021(root: Path, images: int = 6, tested: int = 2, side: int = 24) -> Path:
    """As released: names with a space and brackets, two tables that begin with a byte order mark."""
    names = [f"ss{1 + i % 3:02d} ({i + 1}).jpg" for i in range(images + tested)]
    for seed, name in enumerate(names):
        write_image(root / "Images" / name, seed, side, side)
    table = pd.DataFrame({"Image Name": names, "MOS": np.linspace(0.1, 0.9, len(names)).round(6)})
    for part, rows in (("Train", table[:images]), ("Test", table[images:])):
        rows.to_csv(root / f"{part} (Images and MOS).csv", index=False, encoding="utf-8-sig")
    return root


def write_agiqa3k(root: Path, folder: str = ".") -> Path:
    """As released: six generators' images of a prompt; the images' archive unpacks beside the table or elsewhere."""
    rows = [
        (
            f"{maker}_normal_{p:03d}.jpg",
            f"a prompt, number {p}",
            "",
            "",
            "anime style",
            0.5 * p + 0.2 * i,
            0.4,
            3.0,
            0.5,
        )
        for p in range(4)
        for i, maker in enumerate(["AttnGAN", "DALLE2", "glide", "midjourney", "sd1.5", "xl2.2"])
    ]
    write_images(root / folder, [row[0] for row in rows])
    columns = ["name", "prompt", "adj1", "adj2", "style", "mos_quality", "std_quality", "mos_align", "std_align"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "data.csv", index=False)
    return root


def write_manifest(folder: Path, rows: pd.DataFrame) -> Path:
    """A manifest with `rows`, whose images are generated where they are not there."""
    for seed, name in enumerate(rows["image"]):
        if not (folder / name).exists():
            write_image(folder / name, seed)
    path = folder / "manifest.csv"
    rows.to_csv(path, index=False)
    return path


def write_workbook(path: Path, rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    for row in rows:
        sheet.append(row)
    workbook.save(path)


WRITERS: dict[str, Callable[[Path], Path]] = {
    "koniq10k": write_koniq10k,
    "kadid10k": write_kadid10k,
    "tid2013": write_tid2013,
    "csiq": write_csiq,
    "spaq": write_spaq,
    "bid": write_bid,
    "biq2021": write_biq2021,
    "agiqa3k": write_agiqa3k,
}
"""Data set -> what writes a release of it into a folder and returns the place to open."""
