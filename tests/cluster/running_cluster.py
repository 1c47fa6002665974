"""What a test can do to a Ray cluster that runs beside it."""

from __future__ import annotations

import json
import subprocess
import sys
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
    nodes: list[str] = field(default_factory=list)

    def say(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def kill(self, number: int) -> None:
        """End a node as a power cut would."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"kill {number}\n")
        self.process.stdin.flush()
        assert self.say() == {"killed": self.nodes[number]}

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """`nt-study command` as a driver on one of the cluster's machines."""
        return subprocess.run(
            [sys.executable, "-m", "study.cli", *map(str, command)],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
