"""Ray Tune pickles the parts of a run in order to restore them. A study is restored from its folder instead."""

from __future__ import annotations

from typing import Any


class Unpickled:
    """A part of a run that Tune may pickle for its own restore, which is never used: it goes out empty."""

    def __getstate__(self) -> dict[str, Any]:
        return {}
