"""`nt-study doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from study.commands.options import STUDIES, JsonOption, MlflowOption, StudiesOption, print_json

if TYPE_CHECKING:
    from study.health.findings import Finding

MARKS = {"ok": "ok", "hurts": "HURTS", "broken": "BROKEN"}


def doctor(
    mlflow: MlflowOption = None,
    storage: Annotated[str | None, typer.Option(help="An Optuna storage to try as well.")] = None,
    studies: StudiesOption = STUDIES,
    as_json: JsonOption = False,
) -> None:
    """Look this machine over: what of it will hurt a study, and what to do. Exit code 1 where something is broken.

    Only servers that you name, here or before, are asked anything, and nothing is changed.
    """
    findings = []
    for finding in _look(mlflow, storage, studies):
        findings.append(finding)
        if not as_json:  # some take seconds, so each is shown when it is known
            print(f"{MARKS[finding.state]:7} {finding.what:18} {finding.found}", flush=True)
            if finding.remedy:
                print(f"{'':7} {'':18} → {finding.remedy}", flush=True)
    broken, hurts = (sum(finding.state == state for finding in findings) for state in ("broken", "hurts"))
    if as_json:
        print_json({"broken": broken, "hurts": hurts, "findings": [asdict(finding) for finding in findings]})
    else:
        print(f"\n{broken} broken, {hurts} that will hurt" if broken or hurts else "\nall is well")
    if broken:
        raise typer.Exit(1)


def _look(mlflow: str | None, storage: str | None, studies: Path) -> Iterator[Finding]:
    from study.health import machine, packages, services
    from study.storage.mirror import mirror_of

    local = studies if mirror_of(studies) is None else None
    yield machine.processor()
    yield machine.memory()
    yield from machine.disks(local)
    yield machine.clock(studies)
    yield packages.python()
    yield from packages.versions()
    yield packages.compiled()
    yield machine.gpu()
    yield from packages.caches()
    named = [("MLflow", mlflow), ("search", storage)]
    yield from services.servers([(what, address) for what, address in named if address], _recorded(studies))
    yield services.listening()
    yield services.secrets(Path.home())


def _recorded(studies: Path) -> list[tuple[str, str]]:
    """The servers and databases that the studies here have used."""
    from study.errors import StudyError
    from study.storage.directory import find_all
    from study.storage.reading import read_object_if_any

    found = []
    for directory in find_all(studies):
        link = read_object_if_any(directory.path / "mlflow.json").get("uri")
        found += [("MLflow", link)] if isinstance(link, str) else []
        try:
            kept = directory.read_study_file().storage
        except (StudyError, ValueError, OSError):
            continue  # `nt-study list` says what is wrong with it
        is_here = directory.mirror is None
        found += [("search", kept)] if kept else [("search", directory.optuna_url)] if is_here else []
    return found
