"""The reference pages that are made from the code: `python docs/make_reference.py` writes them below docs/reference.

A page is never edited by hand; `tests/docs/test_site.py` says where one is not what the code gives.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from search_spaces.editor import PARTS, editor_schema, presets
from study import cli
from study.commands.menu import COMMANDS, EXIT_CODES, GROUPS, PANELS
from trainables.objectives import OBJECTIVES

PLACE = Path(__file__).parent / "reference"
MADE = "<!-- made by docs/make_reference.py: change the code, then `make docs` -->\n\n"
EVERYWHERE = ("quiet", "verbose", "help")
"""Options of every command, described once."""
GIVEN = "must be given"
OF_BASELINE = ("space", "first_points", "paper_point", "recipe", "attacks", "suite")
"""Keys that `search_spaces/<baseline>.yaml` fills in."""
LAID_OVER = {"low": "the baseline's", "high": "the baseline's", "stages": "the named recipe's"}
KINDS = {str: "TEXT", int: "NUMBER", float: "NUMBER", Path: "PATH"}
"""What stands for an option's value that has no name of its own."""


def pages() -> dict[str, str]:
    """File below docs/reference -> its text."""
    return {
        "commands.md": MADE + "\n".join(_commands()),
        "study-file.md": MADE + "\n".join(_study_file()),
        "study-file.schema.json": json.dumps(editor_schema(), indent=1, ensure_ascii=False) + "\n",
    }


# --- Commands ---------------------------------------------------------------------------------------------------------


def _commands() -> Iterator[str]:
    yield "# Commands\n"
    yield "What each command does, in the order of `nt-study --help`. Every one also takes these options:\n"
    yield from _table(
        ("option", "meaning"),
        [
            ("`-q`, `--quiet`", "Show results and warnings, no progress."),
            ("`-v`, `--verbose`", "Show the log on standard error; `-vv`: tracebacks as well."),
            ("`--help`", "Show options and examples."),
        ],
    )
    yield "`nt-study --version` shows the versions of NT Study, torch, ray, optuna and mlflow.\n"
    yield "Exit codes:\n"
    yield from _table(("code", "meaning"), [(str(code), meaning) for code, meaning in EXIT_CODES.items()])
    program: Any = typer.main.get_command(cli._app())
    for panel in PANELS:
        yield f"## {panel}\n"
        for name, command in COMMANDS.items():
            if (GROUPS[name.split()[0]][1] if " " in name else command.panel) == panel:
                yield from _command(name, program, command.examples)


def _command(name: str, program: Any, examples: Iterable[str]) -> Iterator[str]:
    found = program
    for word in name.split():
        found = found.commands[word]
    yield f"### {name}\n"
    yield f"{found.help.strip()}\n"
    own = [param for param in found.params if param.name not in EVERYWHERE]
    yield from _table(("argument or option", "meaning"), [(_written(param), _meaning(param)) for param in own])
    yield "```sh"
    yield from (f"nt-study {example}" for example in examples)
    yield "```\n"


def _written(param: Any) -> str:
    """How an argument or option is written, with the kind of its value."""
    if param.param_type_name == "argument":
        return f"`{param.metavar or param.name.upper()}`"
    kind = param.metavar or KINDS.get(param.type_descriptor.annotation, "VALUE")
    return ", ".join(f"`{option}{'' if param.is_flag else f' {kind}'}`" for option in param.opts)


def _meaning(param: Any) -> str:
    parts = [param.help or ""]
    if param.required and param.param_type_name == "option":
        parts.append("Required.")
    shown = param.show_default if isinstance(param.show_default, str) else param.default
    if shown not in (None, False, (), []) and not callable(shown) and not param.required:
        parts.append(f"Default: `{shown}`.")
    if param.envvar:
        parts.append(f"Environment: `{param.envvar}`.")
    return " ".join(parts)


# --- The study file ---------------------------------------------------------------------------------------------------


def _study_file() -> Iterator[str]:
    schema = editor_schema()
    yield "# The study file\n"
    yield (
        "A study file is YAML. It names a `baseline` and, if wanted, a `preset`, and overrides what it likes; the\n"
        "rest comes from the preset and from `search_spaces/<baseline>.yaml`. `nt-study launch study.yaml` takes it,\n"
        "and `nt-study launch study.yaml --dry-run` says what it would run. Numbers may be written as 0.005, 5e-3 or\n"
        "8/255.\n"
    )
    yield "```yaml"
    yield "# yaml-language-server: $schema=docs/reference/study-file.schema.json"
    yield "baseline: hyperiqa"
    yield "preset: demo"
    yield "trials: 24"
    yield "space: {lam: {low: 1e-5, high: 1e-3, log: true}}"
    yield "```\n"
    yield (
        "With the first line, editors that know YAML schemas complete keys and mark mistakes: give the path of\n"
        "[study-file.schema.json](study-file.schema.json) as it is seen from your file.\n\n"
        "A mapping changes some keys of the preset's or baseline's mapping and keeps the others; a list replaces\n"
        "theirs; `null` removes a key.\n"
    )
    yield "## Keys\n"
    filled = dict.fromkeys(OF_BASELINE, "the baseline's, for the size") | {"baseline": GIVEN, "views": "`grid`"}
    yield from _keys(schema["properties"], filled)
    for part in PARTS:
        found = schema["$defs"][part.__name__]
        yield f"## {part.__name__}\n"
        yield f"{found['description']}\n"
        yield from _keys(found["properties"], dict.fromkeys(found.get("required", ()), GIVEN) | LAID_OVER)
    yield "## Objectives\n"
    yield (
        "Names for `objectives`. Without a suffix they are about the attack labelled `fgsm`; `rmse_attacked/noise` is\n"
        "about `noise`, which must be one of the study's `attacks`.\n"
    )
    rows = [
        (f"`{name}`", found.description, _better(found.direction), found.unit) for name, found in OBJECTIVES.items()
    ]
    yield from _table(("name", "meaning", "better", "unit"), rows)
    yield "## Presets\n"
    yield from _table(("preset", "baseline", "what it sets"), _presets())


def _keys(properties: dict[str, Any], defaults: dict[str, str]) -> Iterator[str]:
    rows = [
        (f"`{key}`", _kind(found), defaults.get(key, _default(found)), found.get("description", ""))
        for key, found in properties.items()
    ]
    yield from _table(("key", "value", "default", "meaning"), rows)


def _kind(found: dict[str, Any]) -> str:
    """The values that a key takes, in words."""
    if "$ref" in found:
        part = found["$ref"].rpartition("/")[2]
        return f"[{part}](#{part.lower()})"
    if "enum" in found:
        return ", ".join(f"`{value}`" for value in found["enum"])
    if "anyOf" in found:
        return " or ".join(_kind(one) for one in found["anyOf"] if one.get("type") != "null")
    kind = next(iter(found["type"])) if isinstance(found["type"], list) else found["type"]
    if kind == "array":
        return f"list of {_kind(found['items'])}" if "items" in found else f"{found['maxItems']} numbers"
    if kind == "object":
        inner = found.get("additionalProperties")
        return f"mapping of {_kind(inner)}" if isinstance(inner, dict) else "mapping"
    words = {"integer": "whole number", "string": "text", "boolean": "`true`, `false`"}
    return words.get(kind, kind) + _bounds(found)


def _bounds(found: dict[str, Any]) -> str:
    if "minimum" in found or "ge" in found:
        return f", {found.get('minimum', found.get('ge'))} or more"
    return ", above 0" if {"exclusiveMinimum", "gt"} & set(found) else ""


def _default(found: dict[str, Any]) -> str:
    default = found.get("default")
    if isinstance(default, dict):
        return ""
    return "none" if default in (None, []) else f"`{json.dumps(default, ensure_ascii=False).strip(chr(34))}`"


def _better(direction: str) -> str:
    return "larger" if direction == "maximize" else "smaller"


def _presets() -> list[tuple[str, str, str]]:
    """A row for each preset; baselines that set the same share it."""
    rows: dict[tuple[str, str], list[str]] = {}
    for baseline, found in presets().items():
        for preset, keys in found.items():
            shown = ", ".join(f"{key}: {json.dumps(value).replace(chr(34), '')}" for key, value in keys.items())
            rows.setdefault((preset, shown), []).append(baseline)
    return [(f"`{preset}`", ", ".join(names), f"`{{{shown}}}`") for (preset, shown), names in sorted(rows.items())]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
    yield ""


if __name__ == "__main__":
    PLACE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (PLACE / name).write_text(text, encoding="utf-8")
