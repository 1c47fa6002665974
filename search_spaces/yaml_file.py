"""The one reader of YAML files that people write or hand over: every mistake is a sentence, and nothing runs away."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, NoReturn

import yaml

LARGEST = 1_000_000
"""Bytes; a study file has some thousand."""
DEEPEST = 40
"""Levels of mappings and lists in each other."""
MOST_ALIASES = 50
"""Uses of anchored values. An anchored value may hold none itself, so no file grows in the reading."""


class StudyFileError(ValueError):
    """A study file, baseline or override that cannot be used; the message is one sentence for its author."""


_Fastest: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
"""A study file takes the one written in Python 50 ms."""


class _Loader(_Fastest):
    """Plain values only; refuses what YAML allows and an author cannot mean."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _refuse_what_grows(text: str) -> None:
    """ComposerError for what would take long or much memory to make: deep levels, and aliases of aliases."""
    open_: list[bool] = []
    aliases = 0
    for event in yaml.parse(text, Loader=_Fastest):
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            if any(open_) or aliases > MOST_ALIASES:
                _refuse(event, f"more than {MOST_ALIASES} aliases, or one inside an anchored value")
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append(event.anchor is not None)
            if len(open_) > DEEPEST:
                _refuse(event, f"more than {DEEPEST} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            open_.pop()


def _refuse(event: Any, why: str) -> NoReturn:
    raise yaml.composer.ComposerError(None, None, why, event.start_mark)


def read_yaml(path: Path, kind: str = "study file") -> dict[str, Any]:
    """A file's keys and values; StudyFileError, naming its `kind`, where there are none."""
    if not path.exists():
        raise StudyFileError(f"there is no {kind} {path}")
    if not path.is_file():  # a pipe would wait for ever
        raise StudyFileError(f"{path} is no regular file, so it is no {kind}")
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise StudyFileError(f"{path} is larger than {LARGEST // 1_000_000} MB, so it is no {kind}")
        written = text.decode("utf-8")
        _refuse_what_grows(written)
        values = _Loader(written).get_single_data()
    except (OSError, UnicodeDecodeError) as error:
        raise StudyFileError(f"{path} cannot be read: {error}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none, as 2024-13-45
        if isinstance(error, StudyFileError):
            raise
        raise StudyFileError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise StudyFileError(f"{path} must hold keys and values, got {type(values).__name__}")
    return values


def did_you_mean(name: str, known: Any) -> str:
    """` (did you mean 'x'?)` when something close exists, else nothing."""
    close = difflib.get_close_matches(name, [str(item) for item in known], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
