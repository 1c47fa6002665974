"""The lower rooms work where Ray, Optuna, MLflow and pydantic are not installed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCKED = ("ray", "mlflow", "optuna", "pydantic")
BLOCKER = f"""
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocker())
"""


def modules_of(room: str) -> list[str]:
    files = sorted((ROOT / room).rglob("*.py"))
    return [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]


def test_trainables_and_analysis_import_alone() -> None:
    modules = modules_of("trainables") + modules_of("analysis")
    imports = "".join(f"import {module}\n" for module in modules)
    subprocess.run([sys.executable, "-c", BLOCKER + imports], check=True, cwd=ROOT)


def test_imports_point_one_way() -> None:
    above = {
        "trainables": ("analysis", "study", "search_spaces", "nt_study"),
        "search_spaces": ("analysis", "study", "nt_study"),
        "analysis": ("study", "search_spaces", "nt_study"),
        "study": ("nt_study",),
    }
    for room, forbidden in above.items():
        for file in (ROOT / room).rglob("*.py"):
            for line in file.read_text(encoding="utf-8").splitlines():
                words = line.split()
                if words[:1] in (["from"], ["import"]):
                    assert words[1].partition(".")[0] not in forbidden, f"{file}: {line}"


def test_each_library_is_known_to_one_folder_of_study() -> None:
    homes = {
        "mlflow": ["tracking"],
        "optuna": ["search"],
        "ray": ["cluster", "search", "running", "repeating", "mixing"],
    }
    for file in (ROOT / "study").rglob("*.py"):
        folder = file.relative_to(ROOT / "study").parent.parts[:1]
        for line in file.read_text(encoding="utf-8").splitlines():
            words = line.split()
            library = words[1].partition(".")[0] if words[:1] in (["from"], ["import"]) else ""
            assert library not in homes or "".join(folder) in homes[library], f"{file}: {line}"
