"""A command that runs on a cluster's head as a Ray job, with this working tree, while its output is shown here."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.cluster.session import working_tree
from study.errors import StudyError
from trainables.files import PLACE
from trainables.trust import has_secret

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_START_SECONDS = 30


def is_dashboard(address: str | None) -> bool:
    """Whether an address is a cluster's dashboard, which takes jobs, and not the cluster itself."""
    return (address or "").startswith(("http://", "https://"))


def without_address(arguments: Sequence[str]) -> list[str]:
    """A command line's arguments but `--address` and its value."""
    kept, is_value = [], False
    for argument in arguments:
        if not is_value and argument != "--address" and not argument.startswith("--address="):
            kept.append(argument)
        is_value = argument == "--address" and not is_value
    return kept


def command_of(arguments: Sequence[str]) -> str:
    """The shell command for `nt-study arguments` on another machine; study files that lie here go along in it."""
    words, written = [], []
    for argument in arguments:
        path = Path(argument)
        _check_no_secret(argument)
        if path.suffix in (".yaml", ".yml") and path.is_file():
            there = f'"$folder"/{shlex.quote(path.name)}'
            text = path.read_text(encoding="utf-8")
            _check_no_secret(text)
            written.append(f"printf %s {shlex.quote(text)} > {there}")
            words.append(there)
        else:
            words.append(shlex.quote(argument))
    command = " ".join(["exec python -m study.cli", *words])
    return " && ".join(["folder=$(mktemp -d)", *written, command]) if written else command


def _check_no_secret(text: str) -> None:
    """StudyError for a secret in what a job's command holds: Ray shows and keeps that for everybody on the cluster."""
    if has_secret(text):
        raise StudyError(
            "this command holds an address with a password or token, which Ray's dashboard and logs would show: leave "
            "it out, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN or "
            "MLFLOW_TRACKING_URI on the cluster's machines"
        )


def job_environment() -> dict[str, Any]:
    """The working tree, and where the command was given: its paths begin there, on the cluster's own disks."""
    environment = working_tree()
    return {**environment, "env_vars": {**environment.get("env_vars", {}), PLACE: str(Path.cwd())}}


def submit(address: str, arguments: Sequence[str]) -> int:
    """Run `nt-study arguments` on the cluster and show what it prints; returns its exit code.

    The job does not end with this process. StudyError when the dashboard does not take it.
    """
    os.environ.pop("RAY_ADDRESS", None)  # the job client would go there instead
    from ray.job_submission import JobStatus, JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
        job = _submitted(client, command_of(arguments))
    except (ConnectionError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise StudyError(
            f"the dashboard at {address} does not take the study: {said[:200]}; is 'ray dashboard cluster.yaml' "
            "running, and do ~/.ray/auth_token and RAY_AUTH_MODE=token say the cluster's token?"
        ) from None
    print(f"running on {address} as {job}; it goes on without this terminal; stop it: ray job stop {job}", flush=True)
    print("paths of this command are looked for on the cluster's machines", flush=True)
    asyncio.run(_show(client, job))
    return 0 if client.get_job_status(job) == JobStatus.SUCCEEDED else client.get_job_info(job).driver_exit_code or 1


def _submitted(client: JobSubmissionClient, command: str) -> str:
    """The job's name. A head that has just started takes no job for a few seconds."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return str(client.submit_job(entrypoint=command, runtime_env=job_environment()))
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(1)


async def _show(client: object, job: str) -> None:
    async for lines in client.tail_job_logs(job):  # type: ignore[attr-defined]
        sys.stdout.write(lines)
        sys.stdout.flush()
