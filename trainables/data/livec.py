"""LIVE In the Wild Image Quality Challenge (LIVEC, CLIVE): 1162 authentically distorted photographs.

Ghadiyaram and Bovik, IEEE TIP 2016. The label files begin with seven images that trained the test's subjects.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.io
from numpy.typing import NDArray

from trainables.data.labels import Labels, image_folder, release_file, release_root

NUM_TRAINING_IMAGES = 7
HELD = {
    "AllImages_release": "the images' names",
    "AllMOS_release": "the scores",
    "AllStdDev_release": "the scores' deviations",
}
AUTHORS_TEST = "livec_authors_test.txt"
"""The 232 test images of the split published with the NT method's code (MIT licence)."""


def read_livec(place: Path) -> Labels:
    """Labels of a `ChallengeDB_release` folder: `Images/` and three files in `Data/`."""
    root = release_root(place, "Data")
    folder = image_folder(root, "Images")
    names = [str(np.ravel(cell)[0]) for cell in _read(root, "AllImages_release").ravel()]
    mos = _read(root, "AllMOS_release").ravel()
    std = _read(root, "AllStdDev_release").ravel()
    if not len(names) == len(mos) == len(std):
        raise ValueError(f"{root}/Data lists {len(names)} images, {len(mos)} scores and {len(std)} deviations")
    images = names[NUM_TRAINING_IMAGES:]
    authors_test = set(files(__package__).joinpath(AUTHORS_TEST).read_text().split())
    table = pd.DataFrame(
        {
            "image": images,
            "path": [f"{folder}/{name}" for name in images],
            "mos": mos[NUM_TRAINING_IMAGES:].astype(np.float64),
            "std": std[NUM_TRAINING_IMAGES:].astype(np.float64),
            "content": images,
            "split_authors": ["test" if name in authors_test else "train" for name in images],
        }
    )
    return Labels(
        name="livec",
        source=root / "Data/AllMOS_release.mat",
        root=root,
        table=table,
        score_kind="MOS, 0..100",
        image_folder=folder,
    )


def _read(root: Path, key: str) -> NDArray[np.generic]:
    """The variable `key` of `Data/key.mat`."""
    path = release_file(root, "Data", f"{key}.mat", holds=HELD[key])
    try:
        contents = scipy.io.loadmat(path)
    except Exception as error:  # scipy raises many types over damaged MATLAB files
        raise ValueError(f"{path} cannot be read as a MATLAB file: {error}") from error
    if key not in contents:
        held = ", ".join(name for name in contents if not name.startswith("__"))
        raise ValueError(f"{path} has no variable {key}; it has {held or 'none'}")
    values: NDArray[np.generic] = contents[key]
    return values
