"""How long is too long, and tasks side by side of which none ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from study.running.words import clock

FAR_ABOVE = 10.0
"""Times the longest wait so far: after so long without an epoch, or a task's end, something may hang."""
LEAST = 60.0
"""Seconds that are no reason for doubt, however short the others are: the last epoch also writes the record."""


class Standstill:
    """Tasks side by side of which none ends: said once, until one does.

    say: tells the user. remedy: what to do where they hang.
    """

    def __init__(self, say: Callable[[str], None], remedy: str, now: Callable[[], float] = time.monotonic) -> None:
        self.say = say
        self.remedy = remedy
        self.now = now
        self.since = now()
        self.longest = 0.0
        self.is_said = False

    def look(self, ended: int) -> None:
        """`ended`: how many tasks have ended since the last look."""
        waited = self.now() - self.since
        if ended:
            self.longest = max(self.longest, waited)
            self.since, self.is_said = self.now(), False
        elif is_far_above(waited, self.longest) and not self.is_said:
            self.is_said = True
            self.say(
                f"nothing has been finished for {clock(waited)}, where the longest wait was {clock(self.longest)}; "
                f"if it hangs: {self.remedy}"
            )


def is_far_above(waited: float, longest: float) -> bool:
    return bool(longest) and waited > max(LEAST, FAR_ABOVE * longest)
