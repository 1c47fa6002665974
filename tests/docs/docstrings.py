"""Whether docstrings agree with the code: `python tests/docs/docstrings.py FOLDER ...`, a part of `make lint`.

Docstrings here are prose in which a sentence such as `eps: in [0, 1] pixels.` says what a parameter is, an exception is
named where it is raised, and names of the code stand in backticks. The linters for docstrings (ruff, pydoclint, docsig)
know sections ("Args:", ":param:") alone. This finds what a change of names leaves behind: a described parameter that is
none, an exception that does not exist, a name in backticks that occurs nowhere in the code.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Iterator
from pathlib import Path

DESCRIBED = re.compile(r"(?:^|\n\n|[.)]\s)([a-z_]\w*(?:, [a-z_]\w*)*): ")
"""`name: ` or `name, name: ` at the start of a sentence."""
EXCEPTION = re.compile(r"\b([A-Z]\w*(?:Error|Exception|Warning))\b")
QUOTED = re.compile(r"`([A-Za-z_][\w.]*)(?:\(\))?`")
FOREIGN = {"ftyp", "Plotly", "_xHHHH_", "_x005F_"}
"""Names of others: a part of HEIC files, JavaScript's, and how names are escaped."""
Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def complaints(tree: ast.Module, known: set[str]) -> Iterator[tuple[int, str]]:
    """Line and sentence of what is wrong in a module. known: every word of the code."""
    for node in ast.walk(tree):
        if isinstance(node, Documented) and (text := ast.get_docstring(node)):
            described = [name for names in DESCRIBED.findall(text) for name in names.split(", ")]
            for name in described:
                if name not in parameters_of(node):
                    yield node.lineno, f"{node.name} describes {name!r}, which is no parameter or field of it"
    for line, text in told(tree).values():
        for name in dict.fromkeys(EXCEPTION.findall(text) + QUOTED.findall(text)):
            if not known.issuperset(filter(None, name.split("."))) and not hasattr(builtins, name):
                yield line, f"{name} is said to be there, and the code does not know it"


def told(tree: ast.Module) -> dict[int, tuple[int, str]]:
    """Docstrings, also those below fields and constants: identity of the node -> line and text."""
    lone = (
        node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )
    return {id(node): (node.lineno, node.value) for node in lone if isinstance(node.value, str)}


def parameters_of(node: Documented) -> set[str]:
    """Parameters of a function; of a class its fields, and the parameters of its `__init__`."""
    if isinstance(node, ast.ClassDef):
        fields = (part.target for part in node.body if isinstance(part, ast.AnnAssign))
        own = {target.id for target in fields if isinstance(target, ast.Name)}
        makers = (part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__")
        return own.union(*map(parameters_of, makers))
    taken = node.args
    several = [argument for argument in (taken.vararg, taken.kwarg) if argument is not None]
    return {argument.arg for argument in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs, *several)}


def words_of(tree: ast.Module) -> set[str]:
    """Every identifier, and every word of a string, of a module's code; docstrings are none of it."""
    docstrings = told(tree)
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found.update(re.findall(r"\w+", node.value))
        for name in ("id", "attr", "arg", "name", "module", "asname"):
            if isinstance(value := getattr(node, name, None), str):
                found.update(value.split("."))
    return found


def main(folders: list[str]) -> int:
    """Print every complaint about the modules below the folders; returns how many there are."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for folder in folders for path in _modules(folder)}
    known = FOREIGN.union(*map(words_of, trees.values()), *(path.with_suffix("").parts for path in trees))
    found = [f"{path}:{line}: {sentence}" for path, tree in trees.items() for line, sentence in complaints(tree, known)]
    for sentence in found:
        print(sentence)
    return len(found)


def _modules(folder: str) -> list[Path]:
    return sorted(Path(folder).rglob("*.py"))


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
