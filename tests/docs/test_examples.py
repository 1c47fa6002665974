"""Every code block of README.md and docs is tried as it stands there: Python runs, YAML makes a study file, commands
are parsed by the programs that they call. A block that cannot be tried has its reason in a comment before it:
`<!-- not tried: … -->`; ```text is no code.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import typer
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image
from torchvision.models import ResNet50_Weights, VGG16_Weights, resnet50, vgg16
from written_study import write_study

from search_spaces.schema import StudyFile, load_study_file
from study import cli
from study.looking.front_files import front_of
from study.storage.directory import StudyDirectory
from study.storage.summaries import summarise
from study.tracking.registry import register
from trainables.models import create_model, imagenet
from trainables.record import SCORES, WEIGHTS, read_scores

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "reference").glob("*.md")),
    ROOT / "docs" / "results" / "README.md",
]
NOT_TRIED = re.compile(r"<!-- not tried: \S.* -->\s*", re.DOTALL)
OTHERS = ("git", "pip", "aws", "curl", "export", ".")
"""Programs of others in examples, whose arguments are theirs to check."""


@dataclass(frozen=True)
class Block:
    """A code block of a page, or a line of code in its prose."""

    page: Path
    line: int
    kind: str
    """What it is: python, yaml, sh or text."""
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    for before, token in zip([Token("", "", 0), *tokens], tokens, strict=False):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "inline":
            for child in token.children or ():
                if child.type == "code_inline":
                    yield Block(page, line, "inline", child.content)
        elif token.type in ("fence", "code_block") and not NOT_TRIED.fullmatch(before.content):
            yield Block(page, line, token.info or "sh", token.content)


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of_kind(*kinds: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind in kinds]


def test_every_block_is_of_a_kind_that_is_tried() -> None:
    assert {block.kind for block in BLOCKS} <= {"python", "yaml", "sh", "text", "inline"}
    assert len(of_kind("python")) > 5 and len(of_kind("yaml")) > 1 and len(of_kind("sh")) > 10


# --- Commands ---------------------------------------------------------------------------------------------------------


def commands_in(text: str) -> list[list[str]]:
    """The commands of a shell's block, as its shell takes them apart."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def mentioned_commands() -> list[tuple[Block, list[str]]]:
    found = [(block, words) for block in of_kind("sh") for words in commands_in(block.text)]
    prose = [(block, words) for block in of_kind("inline", "text") for words in commands_in_prose(block)]
    return found + prose


def commands_in_prose(block: Block) -> list[list[str]]:
    """The commands among lines of code and output; a program's or a command's bare name is none."""
    lines = re.findall(r"^\s*((?:nt-study|make|ray|mlflow) .*)", block.text, re.MULTILINE)
    return [words for line in lines for words in commands_in(line) if words[0] == "make" or len(words) > 2]


@functools.cache
def program(name: str) -> Any:
    """A program's command line; Typer's is of its own copy of click's classes."""
    if name == "nt-study":
        return typer.main.get_command(cli._app())
    if name == "ray":
        from ray.scripts.scripts import cli as ray_cli

        return ray_cli
    from mlflow.cli import cli as mlflow_cli

    return mlflow_cli


def parse(command: Any, words: Sequence[str], parent: Any = None) -> None:
    """Have a program's own parser take the words apart, and convert the values, but run nothing."""
    context = command.make_context(words[0], list(words[1:]), parent=parent)
    if hasattr(command, "resolve_command") and (rest := [*context._protected_args, *context.args]):
        name, found, after = command.resolve_command(context, rest)
        parse(found, [name, *after], context)


COMMANDS = [pytest.param(block, words, id=f"{block}-{words[0]}") for block, words in mentioned_commands()]


@pytest.mark.parametrize(("block", "words"), COMMANDS)
def test_a_command_is_one_that_its_program_takes(
    block: Block, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if words[0] in OTHERS:
        return
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert words[-1] in targets
        return
    assert words[0] in ("nt-study", "ray", "mlflow"), f"{block}: {words}: no program that examples call"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    try:
        parse(program(words[0]), words)
        if "nt-study" in words[1:]:
            parse(program("nt-study"), words[words.index("nt-study") :])
    except typer.Exit as done:  # an option that is a command of its own, as --version
        assert done.exit_code == 0
    except Exception as error:
        said = error.format_message() if hasattr(error, "format_message") else error
        raise AssertionError(f"{block}: {shlex.join(words)}: {said}") from error


# --- Study files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", of_kind("yaml"), ids=str)
def test_a_study_file_is_valid(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(block.text if "baseline:" in block.text else f"baseline: hyperiqa\n{block.text}", encoding="utf-8")
    asked = yaml.safe_load(block.text)
    assert asked and set(load_study_file(str(path)).model_dump()) >= set(asked) - {"preset"}


def keys_in_prose() -> list[Block]:
    keys = tuple(f"{key}: " for key in StudyFile.model_fields)
    return [block for block in of_kind("inline") if block.text.startswith(keys)]


@pytest.mark.parametrize("block", keys_in_prose(), ids=str)
def test_a_study_files_key_in_prose_is_valid(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"baseline: hyperiqa\n{block.text}\n", encoding="utf-8")
    load_study_file(str(path))


# --- Python -----------------------------------------------------------------------------------------------------------

IN_A_COPY = re.compile(r"# (trainables/\S+\.py)\n")
"""The first line of a block that is a file of this repository, or an addition to one."""


def scripts() -> dict[Path, list[Block]]:
    """The Python of each page but for its files, in order: a later block uses what an earlier one made."""
    found = [block for block in of_kind("python") if not IN_A_COPY.match(block.text)]
    return {page: [block for block in found if block.page == page] for page in {block.page: None for block in found}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples take for granted: a study, photographs, checkpoints, ImageNet weights."""
    folder = tmp_path_factory.mktemp("place")
    demo = write_study(folder / "studies", "demo", ends=("complete",) * 4)
    for trial in demo.trials.iterdir():
        torch.manual_seed(len(trial.name))
        safetensors.torch.save_file(create_model("hyperiqa", size="small").state_dict(), trial / WEIGHTS)
    for name in ("photo.jpg", "other.png"):
        Image.new("RGB", (96, 80), "teal").save(folder / name)
    hyperiqa, dbcnn = create_model("hyperiqa"), create_model("dbcnn")
    torch.save({"model": hyperiqa.network.state_dict()}, folder / "checkpoint.pth")
    scnn = dbcnn.network.get_submodule("features2").state_dict()
    head = {"projection.0.weight": torch.zeros(1), "classifier.weight": torch.zeros(1)}
    torch.save({f"features.{key}": value for key, value in scnn.items()} | head, folder / "scnn.pkl")
    cache = folder / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    for weights, made in ((ResNet50_Weights, resnet50()), (VGG16_Weights, vgg16().features)):
        prefix = "features." if weights is VGG16_Weights else ""
        state = {f"{prefix}{key}": value for key, value in made.state_dict().items()}
        torch.save(state, cache / Path(weights.IMAGENET1K_V1.url).name)
    return folder


def at_hand(page: str, demo: StudyDirectory) -> dict[str, Any]:
    """What a page's text says that the reader has."""
    if page == "attacks.md":
        return {"model": create_model("hyperiqa", size="small"), "images": torch.rand(2, 3, 64, 64)}
    if page == "python.md":
        return {"images": torch.rand(2, 3, 64, 64)}
    if page == "models.md":
        return {"images": torch.rand(1, 3, 224, 224)}
    if page == "reading-a-front.md":
        return {"trials": [dataclasses.asdict(trial) for trial in summarise(demo)]}
    if page == "report.md":
        tables = {trial.name: read_scores(trial / SCORES) for trial in demo.trials.iterdir()}
        return {"front": front_of(demo), "fingerprint": "0" * 64, "score_tables": tables}
    if page == "mlflow.md":
        register(demo, "knee", f"sqlite:///{demo.path.parent}/mlflow.db")
        return {"pixels": np.zeros((2, 96, 80, 3), np.uint8)}
    return {}


SLOW = ("mlflow.md", "report.md")
"""Pages whose scripts load a model from MLflow or draw a whole report."""
SCRIPTS = [
    pytest.param(page, id=page.name, marks=[pytest.mark.slow] if page.name in SLOW else []) for page in scripts()
]


@pytest.mark.parametrize("page", SCRIPTS)
def test_a_script_runs(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("TORCH_HOME", str(place / "torch"))
    monkeypatch.setattr(imagenet, "_require_hash", lambda path: None)  # drawn weights are not the published ones
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/studies/mlflow.db")
    names = at_hand(page.name, StudyDirectory(place / "studies" / "demo"))
    for block in scripts()[page]:
        exec(compile(block.text, str(block), "exec"), names)


ROOMS = ("attacks/brighten", "attacks/__init__", "models/tiny", "models/__init__", "defences/noise_training")
"""The last is tried by `tests/trainables/test_defences.py`, which registers it."""


@pytest.mark.slow
def test_what_the_guides_add_passes_the_tests_that_they_name(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for room in ("trainables", "tests/models", "tests/attacks", "tests/golden"):
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    added = [(found[1], block) for block in of_kind("python") if (found := IN_A_COPY.match(block.text))]
    for name, block in added:
        with (copy / name).open("a", encoding="utf-8") as file:
            file.write(block.text)
    assert {name for name, _ in added} == {f"trainables/{room}.py" for room in ROOMS}
    tests = ["tests/models/test_scorer.py", "tests/attacks/test_attack_properties.py"]
    assert all(test in "".join(page.read_text(encoding="utf-8") for page in PAGES) for test in tests)
    options = ["-k", "tiny or brighten", "-p", "no:cacheprovider", "-o", "pythonpath=."]
    run = subprocess.run([sys.executable, "-m", "pytest", *tests, *options], cwd=copy, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert int(re.findall(r"(\d+) passed", run.stdout)[0]) > 20
