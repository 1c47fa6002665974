"""The right to run a study of a bucket: held by one driver, renewed while it lives, taken over when it is gone.

Below `<study>/locks/` lies `holder-<id>` of whoever runs the study, rewritten every `BEAT` seconds, and `stop` once
somebody asks for the end. A store cannot say "write unless it is there", so a launcher first writes `candidate-<id>`
and then looks: of two that come at once, each of which sees the other, none goes on.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from study.errors import StudyError
from study.storage.mirror import Mirror, Stamp
from study.suggest import command

log = logging.getLogger(__name__)

BEAT = 10.0
"""Seconds between two renewals; it takes as long until a request to stop is heard."""
EXPIRY = 90.0
"""Seconds without renewal after which a holder counts as gone."""
BEATS_PER_EXCHANGE = 3
STOP = "stop"


def read_holder(mirror: Mirror, study: Path, is_gone: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """Who runs the study now, or None. `is_gone` knows of holders on this machine."""
    # Where this machine's clock is fast by more than the expiry, a living holder counts as gone. Only launching is
    # judged by the store's own clock.
    living = _living(mirror, mirror.files(_locks(study), deep=False), time.time(), is_gone)
    return next((content for key, content in living.items() if key.name.startswith("holder-")), None)


def ask_to_stop(mirror: Mirror, study: Path) -> None:
    mirror.write(_locks(study) / STOP, b"")


class Lease:
    """Holds a study while it is entered. `exchange` is called every half minute, to send and fetch what has changed.

    A holder that finds another one beside it, or its own lock gone, calls `stop` and is `lost`: it was taken for gone.
    """

    def __init__(
        self,
        mirror: Mirror,
        study: Path,
        content: dict[str, Any],
        *,
        is_gone: Callable[[dict[str, Any]], bool],
        stop: Callable[[], None],
        exchange: Callable[[], None],
    ) -> None:
        self.mirror = mirror
        self.study = study
        self.content = json.dumps(content).encode()
        self.is_gone = is_gone
        self.stop = stop
        self.exchange = exchange
        self.lost = False
        self._key = _locks(study) / f"holder-{uuid.uuid4().hex}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        candidate = self._key.with_name(self._key.name.replace("holder", "candidate"))
        self.mirror.write(candidate, self.content)
        try:
            others = self.mirror.files(_locks(self.study), deep=False)
            now = self.mirror.seconds_now(candidate)
            del others[candidate]
            for key, owner in _living(self.mirror, others, now, self.is_gone).items():
                show, stop = (command(verb, self.study.name, studies=self.study.parent) for verb in ("status", "stop"))
                raise StudyError(
                    f"study {self.study.name!r} is being run by process {owner['pid']} on {owner['host']}; watch it "
                    f"with `{show}` or end it with `{stop}`; if that machine is gone, wait {EXPIRY:g} s or delete "
                    f"{self.mirror.address(key)}"
                )
            for key in others:
                self.mirror.delete(key)
            self.mirror.write(self._key, self.content)
        finally:
            self.mirror.delete(candidate)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for key in (self._key, self._key.with_name(STOP)):
            self.mirror.delete(key)

    def _run(self) -> None:
        beats = 0
        while not self._ended.wait(BEAT):
            beats += 1
            try:
                self._renew()
                if beats % BEATS_PER_EXCHANGE == 0:
                    self.exchange()
            except Exception as error:  # the thread must live: who stops renewing is taken for gone
                log.info("%s", error)  # and what could not be sent is sent the next time
            if self.lost:
                return

    def _renew(self) -> None:
        there = self.mirror.files(_locks(self.study), deep=False)
        holders = {key for key in there if key.name.startswith("holder-")}
        if holders != {self._key}:
            self.lost = True
        else:
            self.mirror.write(self._key, self.content)
        if self.lost or _locks(self.study) / STOP in there:
            self.stop()


def _locks(study: Path) -> Path:
    return study / "locks"


def _living(
    mirror: Mirror, found: dict[Path, Stamp], now: float, is_gone: Callable[[dict[str, Any]], bool]
) -> dict[Path, dict[str, Any]]:
    """What the locks say that are neither expired nor of processes that have ended."""
    contents = {}
    for key, (_, renewed) in found.items():
        if key.name != STOP and now - renewed <= EXPIRY:
            try:
                content = json.loads(mirror.read(key))
            except FileNotFoundError:  # given back since
                continue
            if not is_gone(content):
                contents[key] = content
    return contents
