"""A command that runs on a cluster's head as a Ray job, with this working tree, while its output is shown here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from study.cluster.session import working_tree
from study.errors import StudyError
from study.suggest import command
from trainables.files import PLACE
from trainables.trust import has_secret

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

log = logging.getLogger(__name__)
T = TypeVar("T")

_START_SECONDS = 30
ASK_EVERY = 5.0
"""Seconds between two questions to the dashboard whether the job still runs."""
SILENCE = 20.0
"""Seconds that it may take for an answer."""


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
    program = " ".join(["exec python -m study.cli", *words])
    return " && ".join(["folder=$(mktemp -d)", *written, program]) if written else program


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
    from aiohttp import ClientError
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
    try:
        asyncio.run(_follow(client, job))
        ended = client.get_job_info(job)
    except (OSError, RuntimeError, ClientError) as error:
        log.info("the job was lost sight of", exc_info=error)
        raise StudyError(
            f"the dashboard at {address} does not answer any more; {job} goes on if its cluster does; reach it again "
            f"and follow it with: ray job logs {job} --follow --address {address}"
        ) from None
    if ended.status != JobStatus.SUCCEEDED and ended.driver_exit_code is None:
        said = " ".join(str(ended.message).split())[:200]
        raise StudyError(
            f"the cluster has ended {job} ({said}); what was finished is kept; go on with: "
            f"{command('resume')} NAME --address {address}"
        )
    return 0 if ended.status == JobStatus.SUCCEEDED else ended.driver_exit_code or 1


def _submitted(client: JobSubmissionClient, entrypoint: str) -> str:
    """The job's name. A head that has just started takes no job for a few seconds."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return str(client.submit_job(entrypoint=entrypoint, runtime_env=job_environment()))
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(1)


async def _follow(client: JobSubmissionClient, job: str) -> None:
    """Show what the job prints until it has ended. Raises whatever the dashboard's end or silence comes as."""
    shown = asyncio.create_task(_show(client, job))
    try:
        # Asked as well: of a network that is gone, the stream of lines never says anything.
        while not (await asyncio.wait_for(_aside(lambda: client.get_job_status(job)), SILENCE)).is_terminal():
            if shown.done():
                shown.result()
                await asyncio.sleep(1)
            else:
                await asyncio.wait({shown}, timeout=ASK_EVERY)
        await asyncio.wait({shown}, timeout=ASK_EVERY)  # for the last lines
    finally:
        shown.cancel()
        await asyncio.gather(shown, return_exceptions=True)


async def _show(client: JobSubmissionClient, job: str) -> None:
    async for lines in client.tail_job_logs(job):
        sys.stdout.write(lines)
        sys.stdout.flush()


def _aside(question: Callable[[], T]) -> asyncio.Future[T]:
    """The answer, from a thread that may wait for ever: Ray's client does, and the process may end all the same."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def tell(set_it: Callable[[Any], None], value: object) -> None:
        if not answer.done():
            set_it(value)

    def ask() -> None:
        with contextlib.suppress(RuntimeError):  # where nobody waits any more, the loop is closed
            try:
                said = question()
            except Exception as error:
                loop.call_soon_threadsafe(tell, answer.set_exception, error)
            else:
                loop.call_soon_threadsafe(tell, answer.set_result, said)

    threading.Thread(target=ask, daemon=True).start()
    return answer
