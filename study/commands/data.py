"""`nt-study data check`."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePath
from typing import Annotated, Any

import typer

from study.commands.options import SPLIT_HELP, JsonOption, print_json, progress_terminal


def check(
    spec: Annotated[str, typer.Argument(help="photos, livec:/path, koniq10k:/path, csv:/path/manifest.csv, …")],
    seed: Annotated[int, typer.Option(help="Seed of the split that is shown.")] = 0,
    split: Annotated[str | None, typer.Option(help=SPLIT_HELP)] = None,
    as_json: JsonOption = False,
) -> None:
    """Look a data set over before a study trusts it: counts, scores, sizes, duplicates, unreadable files, splits."""
    from study.running.waiting import waiting
    from trainables.data.check import check_dataset

    with waiting(progress_terminal(stderr=True), "opening the images"):
        facts = check_dataset(spec, seed=seed, mode=split)  # type: ignore[arg-type]  # it names the modes itself
    if as_json:
        print_json(facts)
    else:
        _print(facts)
        print(_next_step(facts, seed, split))


def _print(facts: dict[str, Any]) -> None:
    mos = facts["mos"]
    print(f"{facts['spec']}: {facts['images']} images of {facts['contents']} contents, {facts['score_kind']}")
    print(f"scores {mos['minimum']:.4g} to {mos['maximum']:.4g}, mean {mos['mean']:.4g}")
    most = max(mos["histogram"]["counts"])
    edges = mos["histogram"]["edges"]
    for low, high, count in zip(edges, edges[1:], mos["histogram"]["counts"], strict=False):
        print(f"  {low:8.4g} – {high:8.4g}  {'█' * round(40 * count / most)} {count}")
    for name in ("sizes", "conversions", "splits", "duplicates", "left_out", "doubts"):
        if facts.get(name):
            print(f"{name.replace('_', ' ')}: {_short(facts[name])}")


def _next_step(facts: dict[str, Any], seed: int, split: str | None) -> str:
    """The command that launches a study of the set, to paste from any folder; or why there is none yet."""
    if "error" in facts["splits"]:
        return "no study can be launched with it yet: see splits"
    name = _name_of(facts["spec"])
    preset = (
        [] if facts["name"] == "photos" else ["--preset", "laptop"]
    )  # the embedded patches are smaller than its views
    words = ["nt-study", "launch", "hyperiqa", *preset, "--data", facts["spec"], "--name", name]
    words += ["--skip-unreadable"] if facts["left_out"] else []
    words += ["--seed", str(seed)] if seed else []
    words += ["--split", split] if split else []
    return f"launch a study with it:\n  {shlex.join(words)}"


def _name_of(spec: str) -> str:
    """A name that a study may have, from the set's file or folder."""
    name, _, place = spec.partition(":")
    stem = re.sub(r"[^A-Za-z0-9]+", "-", PurePath(place).stem).strip("-") if name == "csv" else name
    return stem[:64] or "mine"


def _short(content: Any) -> str:
    """At most eight entries of a mapping or list, and how many more there are."""
    entries = (
        [f"{key} {_rounded(value)}" for key, value in content.items()] if isinstance(content, dict) else list(content)
    )
    if isinstance(content, str):
        return content
    more = f", and {len(entries) - 8} more" if len(entries) > 8 else ""
    return ", ".join(str(entry) for entry in entries[:8]) + more


def _rounded(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value
