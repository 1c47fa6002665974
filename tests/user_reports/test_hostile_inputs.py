"""Files, names and folders that a stranger, a broken disk or a tired user hands over, at every door.

Each is taken, or refused with one sentence; never a traceback, and nothing is written beside the place it was given.
A few hundred stand here, the same ones each time; `make torture` tries ten thousand others:
`pytest tests/user_reports/test_hostile_inputs.py --hypothesis-profile torture --hypothesis-seed 1`.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from written_study import write_study

from study.cli import main
from trainables.data import open_dataset
from trainables.data.decode import decode_image
from trainables.models import create_model
from trainables.models.published import load_weights
from trainables.record import read_scores
from trainables.trust import read_weights

SHARE = {"name": 30, "manifest": 60, "image": 150, "checkpoint": 60, "table": 70, "folder": 30}
"""Examples of each door in `make test`; in the profile `torture`, so many times more."""


def tried(door: str) -> Callable[[Any], Any]:
    """Decorates the test of a door with its number of examples."""
    times = settings().max_examples if settings.get_current_profile_name() == "torture" else 1
    fixtures = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=SHARE[door] * times,
        deadline=None,
        derandomize=times == 1,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=fixtures,
    )


def said(*arguments: str | Path) -> str:
    """What `nt-study ARGUMENTS` says on standard error, in this process; it may end with 0, 1 or 2."""
    before, sys.argv = sys.argv, ["nt-study", *map(str, arguments)]
    errors = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(errors), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    assert ended.value.code in (None, 0, 1, 2), ended.value.code
    text = errors.getvalue()
    assert "Traceback" not in text
    return text


def refused_in_words(read: Callable[[], object]) -> None:
    """`read` gives something, or raises ValueError with something to say."""
    try:
        read()
    except ValueError as error:
        assert str(error).strip(), type(error)
        assert "Traceback" not in str(error)


Edit = tuple[float, str, int]
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1, allow_nan=False),
        st.sampled_from(["turn", "put", "cut", "end", "twice"]),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=6,
)


def edited(content: bytes, edits: list[Edit]) -> bytes:
    """The bytes after some of them were turned, put in, cut out, doubled, or all from some place on lost."""
    for share, what, value in edits:
        at = min(int(share * len(content)), max(0, len(content) - 1))
        new = {
            "turn": bytes([content[at] ^ (value or 1)]) if content else b"",
            "put": bytes([value]) * (1 + value % 9) + content[at : at + 1],
            "cut": b"",
            "twice": content[at : at + 64] * 2,
            "end": b"",
        }[what]
        rest = b"" if what == "end" else content[at + (64 if what == "twice" else 1) :]
        content = content[:at] + new + rest
    return content


# Names --------------------------------------------------------------------------------------------------------------

NAMES = st.text(min_size=1, max_size=300) | st.sampled_from(
    ["..", "../x", "/etc", "a/b", "con", "-", "--", "a\nb", "%s", "$(id)", "x" * 5000, "\udcff", "ﬁ", "‮", "~", "."]
)


@tried("name")
@given(name=NAMES)
@example(name="../../escaped")
def test_names(name: str, tmp_path: Path) -> None:
    for words in (["status"], ["front"], ["export", "--pick", "knee", "--out", tmp_path / "out"], ["stop"]):
        said(*words, "--studies", tmp_path / "studies", "--", name.replace("\0", ""))
    assert list(tmp_path.iterdir()) == []


# Data ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs [ü]")
    random = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(random.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


CELLS = st.one_of(
    st.text(max_size=20),
    st.integers(),
    st.floats(),
    st.sampled_from(
        ["=cmd|' /C calc'!A0", "../../etc/passwd", "/dev/zero", "0.png", "", "1e999", "3,5", "\ufeffimage"]
    ),
)


@tried("manifest")
@given(
    rows=st.lists(st.lists(CELLS, min_size=0, max_size=5), max_size=8),
    header=st.sampled_from(
        ["image,mos", "image;mos", "image,mos,content,split", "a,b", "", "image", "image,image,mos"]
    ),
    kind=st.sampled_from([".csv", ".tsv", ".xlsx", ".parquet"]),
    edits=EDITS,
    is_whole=st.booleans(),
)
def test_manifests(
    rows: list[list[object]], header: str, kind: str, edits: list[Edit], is_whole: bool, photographs: Path
) -> None:
    manifest = photographs / f"manifest{kind}"
    good: list[list[object]] = [[f"{number}.png", 10 * number, number] for number in range(6)]
    table = good + rows
    if kind in (".xlsx", ".parquet"):
        cells = [[str(cell) for cell in [*row, "", "", ""][:3]] for row in table]
        frame = pd.DataFrame(cells, columns=["image", "mos", "content"])
        buffer = io.BytesIO()
        if kind == ".xlsx":
            frame = frame.map(lambda cell: "".join(letter for letter in cell if letter.isprintable()))
            frame.to_excel(buffer, index=False)
        else:
            frame.map(lambda cell: cell.encode(errors="replace").decode()).to_parquet(buffer)
        content = buffer.getvalue()
    else:
        lines = [header, *(",".join(str(cell) for cell in row) for row in table)]
        content = "\n".join(lines).encode(errors="surrogatepass")
    manifest.write_bytes(content if is_whole else edited(content, edits))
    before = sorted(photographs.iterdir())
    refused_in_words(lambda: open_dataset(f"csv:{manifest}"))
    assert sorted(photographs.iterdir()) == before


def _images() -> dict[str, bytes]:
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 24, 3), dtype=np.uint8))
    found = {}
    for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"):
        buffer = io.BytesIO()
        pixels.save(buffer, kind)
        found[kind] = buffer.getvalue()
    return found


IMAGES = _images()


@tried("image")
@given(kind=st.sampled_from(sorted(IMAGES)), edits=EDITS)
def test_images(kind: str, edits: list[Edit]) -> None:
    refused_in_words(lambda: decode_image(edited(IMAGES[kind], edits), "photo (1).jpg"))


# Models and records -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoints() -> dict[str, bytes]:
    torch.manual_seed(0)
    state = {key: value.contiguous() for key, value in create_model("linearityiqa", size="small").state_dict().items()}
    buffer = io.BytesIO()
    torch.save({"state_dict": state}, buffer)
    return {".safetensors": safetensors.torch.save(state), ".pth": buffer.getvalue()}


@tried("checkpoint")
@given(kind=st.sampled_from([".safetensors", ".pth"]), edits=EDITS, at_the_front=st.booleans())
def test_checkpoints(
    kind: str, edits: list[Edit], at_the_front: bool, checkpoints: dict[str, bytes], tmp_path: Path
) -> None:
    file = tmp_path / f"weights [ü]{kind}"
    # Most of a checkpoint are numbers, and any numbers will do: the structure stands at one end.
    share = 0.02 if at_the_front else 1.0
    file.write_bytes(edited(checkpoints[kind], [(at * share, what, value) for at, what, value in edits]))
    refused_in_words(lambda: load_weights(create_model("linearityiqa", size="small"), file))
    if kind == ".safetensors":
        refused_in_words(lambda: read_weights(file))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    studies = tmp_path_factory.mktemp("studies [ü]")
    write_study(studies)
    return studies


@tried("table")
@given(edits=EDITS)
def test_score_tables(edits: list[Edit], written: Path, tmp_path: Path) -> None:
    table = tmp_path / "scores.parquet"
    table.write_bytes(edited((written / "written" / "trials" / "t000" / "scores.parquet").read_bytes(), edits))
    refused_in_words(lambda: read_scores(table))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just("../../escaped"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FILES = [
    "environment.json",
    "split.parquet",
    "study.yaml",
    "trials/baseline/config.json",
    "trials/t000/config.json",
    "trials/t001/result.json",
    "trials/t001/epochs.jsonl",
    "trials/t002/scores.parquet",
    "mlflow.json",
    "lock",
]


def _with_value(content: object, choice: int, value: object) -> object:
    """The JSON content with one of its values, at whatever depth, replaced."""
    if isinstance(content, dict) and content:
        key = sorted(content)[choice % len(content)]
        inner = content[key]
        new = _with_value(inner, choice // 7, value) if isinstance(inner, dict) and choice % 3 else value
        return {**content, key: new}
    return value


@tried("folder")
@example(name="trials/baseline/config.json", edits=[], value=None, choice=0, in_json=True)  # "attacks": null
@given(name=st.sampled_from(FILES), edits=EDITS, value=VALUES, choice=st.integers(0, 500), in_json=st.booleans())
def test_study_folders(
    name: str, edits: list[Edit], value: object, choice: int, in_json: bool, written: Path, tmp_path: Path
) -> None:
    studies = tmp_path / "studies"
    shutil.rmtree(studies, ignore_errors=True)
    shutil.copytree(written, studies)
    file = studies / "written" / name
    content = file.read_bytes() if file.exists() else b'{"pid": 1, "host": "here", "runs": {"": "0"}}'
    if in_json and file.suffix == ".json":
        content = json.dumps(_with_value(json.loads(content), choice, value)).encode()
    else:
        content = edited(content, edits)
    file.write_bytes(content)
    for words in (["status", "written"], ["list"], ["front", "written", "--json"]):
        said(*words, "--studies", studies)
    said("export", "written", "--pick", "front", "--out", tmp_path / "out", "--studies", studies)
    assert {path.name for path in tmp_path.iterdir()} <= {"studies", "out"}
