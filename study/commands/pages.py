"""The pages of `--help`, and `--version`."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.metadata import version as version_of
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

VERSIONS = ("torch", "ray", "optuna", "mlflow")
"""The packages whose versions `--version` names beside ours: reports of faults need them."""


class Page(TyperCommand):
    """A command whose help ends with its epilog as it is: Typer would join its lines."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _with_epilog(self, lambda: super(Page, self).format_help(ctx, formatter))


class Group(TyperGroup):
    """The same for a group of commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _with_epilog(self, lambda: super(Group, self).format_help(ctx, formatter))


def _with_epilog(command: TyperCommand | TyperGroup, show: Callable[[], None]) -> None:
    epilog, command.epilog = command.epilog, None
    try:
        show()
    finally:
        command.epilog = epilog
    if epilog:
        typer.echo(f"{epilog}\n")


def _show_versions(asked: bool) -> None:
    if asked:
        # From the metadata: importing them takes seconds.
        print(f"nt-study {version_of('nt-study')} (Python {platform.python_version()})")
        print("\n".join(f"{package} {version_of(package)}" for package in VERSIONS))
        raise typer.Exit


def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_versions, is_eager=True, help="Show versions and exit.")
    ] = False,
) -> None:
    """What the program does without a command."""
