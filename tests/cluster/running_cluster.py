"""What a test can do to a Ray cluster that runs beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class RunningCluster:
    """A cluster in a process of its own, and how a driver reaches it."""

    process: subprocess.Popen[str]
    caches: list[Path]
    environment: dict[str, str]
    address: str = ""
    dashboard: str = ""
    nodes: list[str] = field(default_factory=list)

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def _tell(self, command: str, number: int) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({command: number}) + "\n")
        self.process.stdin.flush()
        return str(self.hear()[command])

    def kill(self, number: int) -> None:
        """End a node as a power cut would."""
        assert self._tell("kill", number) == self.nodes[number]

    def replace(self, number: int) -> None:
        """Let a node like a killed one join in its place."""
        self.nodes[number] = self._tell("replace", number)

    def start(self, *command: str | Path, **environment: str) -> subprocess.Popen[str]:
        """`nt-study command` as a driver on one of the cluster's machines, still running."""
        return subprocess.Popen(
            [sys.executable, "-m", "study.cli", *map(str, command)],
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(
        self, *command: str | Path, folder: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """The same, from some folder, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "study.cli", *map(str, command)],
            cwd=folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def said_by(program: str, *arguments: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """The JSON on the last line that a Python program prints, in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    said: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return said
