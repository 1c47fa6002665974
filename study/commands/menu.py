"""The command line's table of contents: every command, the panel of `--help` that it stands in, and examples of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

RUN, LOOK, JUDGE = "Run a study", "Look at it", "Judge it"
USE, SET_UP = "Use the models", "Set up and repair"
PANELS = (RUN, LOOK, JUDGE, USE, SET_UP)
"""What one wants of a command, in the order of `nt-study --help`."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """Where a command is, and how the help shows it."""

    module: str
    """The module in `study/commands/` whose function of the command's last word (`list_` for `list`) runs it."""
    panel: str
    examples: tuple[str, ...]
    """Command lines without `nt-study`, the plainest first."""


COMMANDS = {
    "launch": Command(
        module="launch",
        panel=RUN,
        examples=(
            "launch hyperiqa --preset demo --name mine",
            "launch hyperiqa --preset laptop --data csv:ratings.xlsx",
            "launch hyperiqa --preset laptop --data csv:ratings.xlsx --dry-run",
            "launch hyperiqa --preset paper --data livec:/data/ChallengeDB_release",
            "launch study.yaml --trials 24 --lam 1e-6:1e-3",
            "launch hyperiqa --defence adversarial_training --name at",
        ),
    ),
    "resume": Command(
        module="launch",
        panel=RUN,
        examples=("resume mine", "resume mine --trials +12", "resume mine --retry-failed"),
    ),
    "stop": Command(module="stop", panel=RUN, examples=("stop mine", "stop mine --wait 600")),
    "blend": Command(module="blend", panel=RUN, examples=("blend mine", "blend mine --mixtures 24")),
    "confirm": Command(module="confirm", panel=RUN, examples=("confirm mine --seeds 3",)),
    "refit": Command(module="refit", panel=RUN, examples=("refit mine", "refit mine --pick front")),
    "sweep": Command(
        module="sweep",
        panel=RUN,
        examples=("sweep hyperiqa lam --seeds 3", "sweep hyperiqa step_size --values 0.001,0.01,0.1"),
    ),
    "list": Command(module="status", panel=LOOK, examples=("list", "list --json")),
    "status": Command(
        module="status", panel=LOOK, examples=("status mine", "status mine --watch", "status mine --json")
    ),
    "front": Command(
        module="front",
        panel=LOOK,
        examples=("front mine", "front mine --csv", "front mine --open"),
    ),
    "compare": Command(
        module="compare",
        panel=LOOK,
        examples=("compare mine other --out comparison", "compare nt trades adversarial_training"),
    ),
    "report": Command(
        module="report",
        panel=LOOK,
        examples=("report mine --out report", "report mine other --out report --records records"),
    ),
    "ui": Command(module="ui", panel=LOOK, examples=("ui", "ui mine --port 5001")),
    "attack": Command(
        module="attack",
        panel=JUDGE,
        examples=(
            "attack studies/mine/trials/t003",
            "attack knee --defence jpeg:quality=60",
            "attack knee --attacks fgsm,ifgsm:steps=20 --eps 8/255 --out scores.parquet",
        ),
    ),
    "suite": Command(module="suite", panel=JUDGE, examples=("suite mine", "suite mine --on all")),
    "audit": Command(module="suite", panel=JUDGE, examples=("audit mine", "audit mine --json")),
    "export": Command(
        module="export",
        panel=USE,
        examples=(
            "export mine --pick knee --out knee",
            'export mine --at "srocc>=0.70" --out robust',
            "export mine --pick most-robust --format onnx --out robust",
            "export mine --refit --out final",
        ),
    ),
    "score": Command(
        module="export",
        panel=USE,
        examples=("score knee photo.jpg folder/", "score knee folder/ --out scores.csv"),
    ),
    "register": Command(module="register", panel=USE, examples=("register mine", "register mine --pick knee")),
    "doctor": Command(
        module="doctor",
        panel=SET_UP,
        examples=("doctor", "doctor --json", "doctor --mlflow http://mlflow.example.org:5000"),
    ),
    "sync": Command(
        module="sync", panel=SET_UP, examples=("sync mine", "sync mine --mlflow http://mlflow.example.org:5000")
    ),
    "rename": Command(module="manage", panel=SET_UP, examples=("rename mine first-try",)),
    "delete": Command(module="manage", panel=SET_UP, examples=("delete mine", "delete mine --yes")),
    "data check": Command(
        module="data",
        panel=SET_UP,
        examples=("data check livec:/data/ChallengeDB_release", "data check csv:ratings.xlsx --split content"),
    ),
    "cluster check": Command(module="cluster", panel=SET_UP, examples=("cluster check cluster.yaml",)),
    "surrogate train": Command(
        module="suite", panel=JUDGE, examples=("surrogate train paq2piq --data koniq10k:/data/koniq10k",)
    ),
    "adversaries build": Command(module="suite", panel=JUDGE, examples=("adversaries build mine",)),
}
"""Command -> where it is and how it is shown; of a group's command, the group's name stands first."""

GROUPS = {
    "data": ("Look a data set over before a study trusts it.", SET_UP),
    "cluster": ("Look a Ray cluster file over before machines are paid for.", SET_UP),
    "surrogate": ("Train the small models that black-box attacks are made on.", JUDGE),
    "adversaries": ("Make a study's black-box attacks ahead of time, so that attacking a trial is cheap.", JUDGE),
}
"""Group of commands -> what it is for, and its panel."""

EXIT_CODES = {
    0: "done",
    1: "done, but something is wrong: an image without a score, a machine or cluster file with a fault",
    2: "not done; the message says what is wrong and what to do",
    130: "interrupted; what was finished is kept, and the next command printed",
}


def function_of(name: str) -> Callable[..., None]:
    """The function that runs a command."""
    word = name.rpartition(" ")[2]
    module = importlib.import_module(f"study.commands.{COMMANDS[name].module}")
    function: Callable[..., None] = getattr(module, "list_" if word == "list" else word)
    return function


def examples_of(command: Command) -> str:
    """The end of a command's help."""
    return "\n".join([" Examples:", *(f"   nt-study {example}" for example in command.examples)])


def exit_codes() -> str:
    """The end of the help of all."""
    return "\n".join([" Exit codes:", *(f"   {code:3}  {meaning}" for code, meaning in EXIT_CODES.items())])
