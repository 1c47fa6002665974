"""The documentation as a whole: pages made from the code are current, editors are told what a study file takes, links
of pages at the root lead somewhere. `make docs` builds the site and checks the links within it.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from search_spaces.editor import editor_schema
from search_spaces.schema import load_study_file
from trainables.record import SCHEMA

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_pages_made_from_the_code_are_current() -> None:
    made = runpy.run_path(str(DOCS / "make_reference.py"))["pages"]()
    assert set(made) == {"commands.md", "study-file.md", "study-file.schema.json"}
    old = [name for name, text in made.items() if (DOCS / "reference" / name).read_text(encoding="utf-8") != text]
    assert not old, f"{old} in docs/reference are not what the code gives; run: make docs"


def mistakes(text: str) -> list[str]:
    """What an editor with the published schema would mark in a study file."""
    return [error.message for error in Draft202012Validator(editor_schema()).iter_errors(yaml.safe_load(text))]


TAKEN = [
    "baseline: hyperiqa",
    "baseline: dbcnn\npreset: laptop\ndata: csv:ratings.xlsx",
    "baseline: hyperiqa\nspace: {lam: {high: 1e-3}}\nrecipe: {based_on: scratch, select: best}",
    "baseline: hyperiqa\nrecipe: scratch\nattacks: {fgsm: {name: fgsm, eps: 8/255}}\ntrials: '12'",
]
REFUSED = [
    ("baseline: hyperiqua", "is not one of"),
    ("preset: demo", "'baseline' is a required property"),
    ("baseline: hyperiqa\ntrails: 3", "'trails' was unexpected"),
    ("baseline: hyperiqa\ntrials: 0", "less than the minimum"),
    ("baseline: hyperiqa\nspace: {lam: {hihg: 1}}", "'hihg' was unexpected"),
]


@pytest.mark.parametrize("text", TAKEN)
def test_editors_and_launch_take_the_same_files(text: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    assert load_study_file(str(tmp_path / "study.yaml"))
    assert mistakes(text) == []


def test_editors_take_what_a_study_keeps() -> None:
    assert mistakes(load_study_file("hyperiqa", preset="paper").to_yaml()) == []


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_editors_and_launch_refuse_the_same_files(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError):
        load_study_file(str(tmp_path / "study.yaml"))
    assert any(said in found for found in mistakes(text)), mistakes(text)


def test_the_score_tables_page_has_its_columns() -> None:
    table = (DOCS / "record.md").read_text(encoding="utf-8").partition("## Columns")[2].partition("## Objectives")[0]
    kinds = {"string": "string", "double": "double"}
    said = re.findall(r"^\| `(\w+)` \| (\w+)(, may be missing)? \|", table, re.MULTILINE)
    assert said == [(field.name, kinds[str(field.type)], ", may be missing" * field.nullable) for field in SCHEMA]


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_links_of_pages_at_the_root_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_every_page_stands_in_the_menu() -> None:
    def files(menu: Any) -> list[str]:
        if isinstance(menu, str):
            return [menu]
        return [file for part in (menu.values() if isinstance(menu, dict) else menu) for file in files(part)]

    in_menu = files(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    below = [page.relative_to(DOCS).as_posix() for page in (*DOCS.glob("*.md"), *(DOCS / "reference").glob("*.md"))]
    assert set(below) <= set(in_menu)
