"""A command that runs on a cluster's head as a Ray job, with this working tree, while its output is shown here."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Sequence

from study.cluster.session import working_tree
from study.errors import StudyError


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


def submit(address: str, arguments: Sequence[str]) -> int:
    """Run `nt-study arguments` on the cluster and show what it prints; returns its exit code.

    The job does not end with this process. StudyError when the dashboard does not take it.
    """
    os.environ.pop("RAY_ADDRESS", None)  # the job client would go there instead
    from ray.job_submission import JobStatus, JobSubmissionClient

    command = shlex.join(["python", "-m", "study.cli", *arguments])
    try:
        client = JobSubmissionClient(address)
        job = client.submit_job(entrypoint=command, runtime_env=working_tree())
    except (ConnectionError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise StudyError(
            f"the dashboard at {address} does not take the study: {said[:200]}; is 'ray dashboard cluster.yaml' "
            "running, and do ~/.ray/auth_token and RAY_AUTH_MODE=token say the cluster's token?"
        ) from None
    print(f"running on {address} as {job}; it goes on without this terminal; stop it: ray job stop {job}", flush=True)
    asyncio.run(_show(client, job))
    return 0 if client.get_job_status(job) == JobStatus.SUCCEEDED else client.get_job_info(job).driver_exit_code or 1


async def _show(client: object, job: str) -> None:
    async for lines in client.tail_job_logs(job):  # type: ignore[attr-defined]
        sys.stdout.write(lines)
        sys.stdout.flush()
