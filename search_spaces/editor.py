"""The study file's JSON schema for editors: what a person writes, where a preset and the baseline fill in the rest."""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any

from search_spaces.defence_space import defences
from search_spaces.schema import BASED_ON, FOLDER, Range, Resources, Scheduler, Split, StudyFile, baselines
from search_spaces.yaml_file import read_yaml
from trainables.config import Recipe, Stage

PARTS = (Split, Range, Scheduler, Resources, Recipe, Stage)
"""What a study file holds below its own keys."""


def presets() -> dict[str, dict[str, dict[str, Any]]]:
    """Baseline -> preset -> the keys that it sets."""
    return {baseline: read_yaml(FOLDER / f"{baseline}.yaml")["presets"] for baseline in baselines()}


def editor_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a study file as a person writes it: `baseline` is all that it needs.

    Unlike `StudyFile`'s own schema it knows `preset` and a recipe's name, and what only changes the baseline's may be
    incomplete: a recipe, and a range of the space.
    """
    schema = StudyFile.model_json_schema()
    parts, keys = schema["$defs"], schema["properties"]
    for part in PARTS:
        _describe(parts[part.__name__]["properties"], part)
    _describe(keys, StudyFile)
    for incomplete in ("Recipe", "Range"):
        del parts[incomplete]["required"]
    parts["Recipe"]["properties"][BASED_ON] = {
        "type": "string",
        "description": "The recipe of which the other keys replace something; the preset's when left out.",
    }
    keys["baseline"]["enum"] = baselines()
    parts["Recipe"]["properties"]["defence"]["enum"] = defences()
    keys["recipe"] = {
        "anyOf": [{"type": "string"}, {"$ref": "#/$defs/Recipe"}],
        "description": "How models are trained: a recipe's name, or keys that replace some of one's.",
    }
    preset = {
        "enum": sorted({name for of_baseline in presets().values() for name in of_baseline}),
        "default": "demo",
        "description": "A ready-made study, which fills in what the file leaves out.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Study file of NT Study",
        "properties": {"baseline": keys.pop("baseline"), "preset": preset, **keys},
        "required": ["baseline"],
    }


def _describe(properties: dict[str, dict[str, Any]], owner: type) -> None:
    """Give each property what is written below its field: pydantic would do so whenever a study file is read."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    for field, below in pairwise(getattr(body, "body", ())):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                if name in properties:
                    properties[name]["description"] = " ".join(text.split())
