"""What `nt-study doctor` says: one finding per thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "hurts", "broken"]
"""`ok`; `hurts`: a study runs, but slower or less safely than it could; `broken`: a study would fail."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    """What was looked at, such as "memory"."""
    state: State
    found: str
    """What is there, with numbers and units."""
    remedy: str = ""
    """What to do; empty where nothing has to be done."""
