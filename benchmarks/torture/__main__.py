"""Hurt real studies at random moments, resume them, and compare them with one that nobody hurt.

    python -m benchmarks.torture --times 15 --record torture.jsonl
    python -m benchmarks.torture --only "SIGKILL: driver" --only race --times 2

A study (Ray, Optuna, MLflow, six trials of three epochs) is hit up to five times, resumed where that ended its driver,
and finished; then its trials, epochs and objectives, on disk, in Optuna and in MLflow, have to be those of an
undisturbed one. Every blow
is a line of the record, and a record is gone on with: what is there counts. Exits with 1 where anything was wrong.
Each blow takes about half a minute of a core. The full disk needs root, failing writes a C compiler, PostgreSQL's and
the object store's need what the tests need.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.torture.injections import INJECTIONS, RAYS_OWN, Injection
from benchmarks.torture.rig import Rig, ended, local_rig, until
from benchmarks.torture.small_study import Values, problems_of, values_of

RACE = "race"
PER_STUDY = 5
"""Blows until a study may finish, at most."""
IN_ONE_LIFE = 2
"""Blows at one driver, where it goes on after them."""
ENDED_RACES = 0.8
"""Share of the races in which the winner is killed soon, so that the study has another race."""
EARLIEST = 0.05
"""Seconds into a driver's life."""
RAISED = re.compile(r"^[\w.]+(Error|Exception|Interrupt)\b.*", re.MULTILINE)
"""The line of a traceback that says what it was; the others name places on this machine."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = [*INJECTIONS, RACE]
    parser.add_argument("--times", type=int, default=15, help="blows of each kind (15)")
    parser.add_argument("--only", action="append", choices=kinds, help="a kind; can be given several times")
    parser.add_argument("--record", type=Path, default=Path("torture.jsonl"), help="gone on with where it exists")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torture = Torture(arguments.record, arguments.seed)
    for kind in arguments.only or kinds:
        while torture.count(kind) < arguments.times:
            torture.hurt([kind] * min(PER_STUDY, arguments.times - torture.count(kind)))
    print(table_of(torture.lines))
    sys.exit(any(line["problems"] for line in torture.lines))


class Torture:
    """The blows so far, and what an undisturbed study comes to."""

    def __init__(self, record: Path, seed: int) -> None:
        self.record = record
        self.lines: list[dict[str, Any]] = []
        if record.exists():
            self.lines = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
        self.moments = random.Random(f"{seed} {len(self.lines)}")
        self.reference, self.latest = self._undisturbed()

    def count(self, kind: str) -> int:
        return Counter(line["kind"] for line in self.lines)[kind]

    def _undisturbed(self) -> tuple[Values, float]:
        with local_rig() as rig:
            started = time.monotonic()
            if problems := rig.finish():
                raise SystemExit(f"the undisturbed study does not finish: {problems}")
            seconds = time.monotonic() - started
            print(f"a study that nobody hurts takes {seconds:.0f} s", flush=True)
            return values_of(rig.directory, []), seconds

    def hurt(self, kinds: Sequence[str]) -> None:
        """One study, hit so often, finished and compared; a line for each blow.

        kinds: all on a study of the first one's. Those after the study's end, and after something wrong, are left out.
        """
        lines: list[dict[str, Any]] = []
        first = INJECTIONS.get(kinds[0])
        with first.rig() if first else local_rig() as rig:
            left = list(kinds)
            while left:
                kind = left[0]
                of_one_driver = (
                    [self._race(rig)] if kind == RACE else self._hit(rig, INJECTIONS[kind], left.count(kind))
                )
                lines += [{"kind": kind, "study": len(self.lines), **line} for line in of_one_driver]
                del left[: len(of_one_driver)]
                if not of_one_driver or of_one_driver[-1]["problems"]:
                    break
            wrong = rig.finish() or problems_of(rig.directory, self.reference, rig.tracking_uri)
        if lines:
            lines[-1]["problems"] += wrong
        elif wrong:
            raise SystemExit(f"{kinds[0]}: a study that was not hit went wrong: {wrong}")
        for line in lines:
            end = f"exit {line['codes']} {line['lived']:.0f} s later"
            print(f"{line['kind']}, {line['after']:.1f} s in: {end}; {line['problems'] or 'all is well'}", flush=True)
        self.lines += lines
        with self.record.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)

    def _hit(self, rig: Rig, injection: Injection, times: int) -> list[dict[str, Any]]:
        """Blows at random moments of one driver's life, up to `IN_ONE_LIFE` where it can go on after them.

        Empty where the study has finished by itself before anything could be hit.
        """
        driver = rig.start()
        started = time.monotonic()
        count = min(times, IN_ONE_LIFE) if 0 in injection.codes else 1
        lines: list[dict[str, Any]] = []
        for moment in sorted(started + self.moments.uniform(EARLIEST, self.latest) for _ in range(count)):
            until(lambda: False, driver, moment - time.monotonic())
            if until(lambda: injection.blow(rig, driver, self.moments), driver, self.latest):
                lines.append({"after": time.monotonic() - started, "codes": (), "lived": 0.0, "problems": []})
        struck = time.monotonic()
        problem = ended(driver)
        if lines:
            codes = (driver.returncode,)
            # A blow may come when the driver has just done all there is to do.
            found = self._complaints(rig, codes, {*injection.codes, 0})
            lines[-1]["problems"] = [problem] * bool(problem) + found
            lines = [{**line, "codes": codes, "lived": time.monotonic() - struck} for line in lines]
        return lines

    def _race(self, rig: Rig) -> dict[str, Any]:
        """Two drivers at once; one of them is killed as soon as the other was refused, if it still runs."""
        started = time.monotonic()
        command = rig.command()
        first = rig.start(command)
        time.sleep(self.moments.uniform(0, 1))
        second = rig.start(command, "a")
        until(lambda: second.poll() is not None, first, self.latest)
        if self.moments.random() < ENDED_RACES and None in (first.poll(), second.poll()):
            time.sleep(self.moments.uniform(0, 5))
            for driver in (first, second):
                driver.kill()
        problems = [problem for problem in (ended(first), ended(second)) if problem]
        codes = (first.returncode, second.returncode)
        if 2 not in codes and codes.count(0) + codes.count(-9) != 2:
            problems.append(f"nobody was refused: {codes}")
        problems += self._complaints(rig, codes, {0, 2, -9})
        return {"after": time.monotonic() - started, "codes": codes, "lived": 0.0, "problems": problems}

    def _complaints(self, rig: Rig, codes: tuple[int, ...], allowed: set[int]) -> list[str]:
        said = rig.said()
        found = [f"exit {code}: {said[-300:]}" for code in codes if code not in allowed]
        if RAYS_OWN in codes and "Failed to register worker" not in said:
            found.append(f"exit {RAYS_OWN} without Ray's reason: {said[-300:]}")
        if "Traceback" in said:
            raised = RAISED.search(said, said.index("Traceback"))
            found.append(f"a traceback: {raised.group() if raised else 'of no error'}")
        return found


def table_of(lines: list[dict[str, Any]]) -> str:
    """What was done, how often, and what came of it, as Markdown."""
    rows = ["| what | times | studies | something wrong |", "|---|---|---|---|"]
    for kind in dict.fromkeys(line["kind"] for line in lines):
        of = [line for line in lines if line["kind"] == kind]
        wrong = sum(bool(line["problems"]) for line in of)
        rows.append(f"| {kind} | {len(of)} | {len({line['study'] for line in of})} | {wrong or 'nothing'} |")
    return "\n".join(rows)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd[0]} failed; the full disk needs root and failing writes a C compiler")
