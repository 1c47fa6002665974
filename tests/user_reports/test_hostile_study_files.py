"""Study files that a stranger hands over, or a tired author: one sentence each, at once, whatever they hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.schema import StudyFile, load_study_file
from search_spaces.yaml_file import StudyFileError, read_yaml

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
FILES = {
    "baseline: hyperiqa\npreset: [a]\n": "preset is a name, got ['a']",
    "baseline: hyperiqa\npreset: {a: 1}\n": "preset is a name",
    "baseline: hyperiqa\nsize: [small]\n": "size is a name",
    "baseline: [hyperiqa]\n": "unknown baseline",
    "baseline: hyperiqa\nrecipe: []\n": "unknown recipe '[]'",
    "baseline: hyperiqa\nrecipe: {based_on: [warm]}\n": "unknown recipe",
    "baseline: hyperiqa\ntrials: 3\ntrials: 30\n": "the key 'trials' stands there twice",
    "baseline: hyperiqa\nspace: {lam: {low: 1, low: 2, high: 3}}\n": "the key 'low' stands there twice",
    "baseline: hyperiqa\nsplit: {fractions: [.nan, 0.2, 0.8]}\n": "split.fractions",
    "baseline: hyperiqa\nrecipe: {stages: [{name: a, epochs: 1, lr: .inf}]}\n": "lr",
    "baseline: hyperiqa\nx: " + "[" * 5000 + "]" * 5000 + "\n": "levels deep",
    BOMB: "one inside an anchored value",
    "baseline: hyperiqa\nwhen: 2024-13-45\n": "not valid YAML",
    "? [a, b]\n: 1\n": "not valid YAML",
    "- 1\n": "must hold keys and values, got list",
    "": "must hold keys and values, got NoneType",
    "\x00": "not valid YAML",
    "a: !!python/object/apply:os.system [date]\n": "not valid YAML",
    "#" * 1_000_001: "larger than 1 MB",
}


@pytest.mark.parametrize("content", FILES, ids=list(FILES.values()))
def test_said_in_one_sentence(content: str, tmp_path: Path) -> None:
    file = tmp_path / "study [ü].yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(StudyFileError) as error:
        load_study_file(str(file))
    assert FILES[content] in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "folder.yaml"):
        with pytest.raises(StudyFileError, match="no regular file"):
            read_yaml(tmp_path / name)
    with pytest.raises(StudyFileError, match="there is no study file"):
        read_yaml(tmp_path / "none.yaml")


def test_an_author_may_say_a_thing_once_and_mean_it_twice(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("range: &range {low: 1.0e-5, high: 1.0e-3}\nfirst: *range\nsecond: {<<: *range, high: 1}\n")
    assert read_yaml(file)["second"] == {"low": 1e-5, "high": 1}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*StudyFile.model_fields, "preset"])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_value_of_any_key_is_taken_or_refused_in_words(overrides: dict[str, object]) -> None:
    own = {key: value for key, value in overrides.items() if key not in ("data", "baseline")}
    try:
        load_study_file("hyperiqa", overrides=own)
    except ValueError as error:
        assert str(error).strip() and "Traceback" not in str(error)
