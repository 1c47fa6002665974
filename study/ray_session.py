"""The Ray that a study runs on: joined where one runs, started where none does, refused where no trial would fit."""

from __future__ import annotations

import logging
import os

import psutil

from search_spaces.schema import StudyFile
from study.errors import StudyError

MEMORY_PER_TRIAL = {"small": 1.2e9, "paper": 6e9}
"""Bytes that one trial's process needs on the CPU: measured for `small`, ResNet50 at batch 16 for `paper`."""


def start_ray(study_file: StudyFile) -> None:
    """Start or join Ray. StudyError when one trial does not fit into what there is."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    import ray

    from study.tuner import resources_of_trials

    _check_memory(study_file)
    if not ray.is_initialized():
        ray.init(
            logging_level=logging.ERROR,
            log_to_driver=False,
            include_dashboard=False,
            object_store_memory=100_000_000,  # trials pass file names, not tensors
        )
    wanted, there = resources_of_trials(study_file), ray.cluster_resources()
    for kind, amount in {"CPU": wanted.cpu, "GPU": wanted.gpu, **wanted.custom}.items():
        if amount > there.get(kind, 0):
            raise StudyError(
                f"one trial asks for {amount:g} {kind} and there are {there.get(kind, 0):g}; "
                "lower resources_per_trial in the study file or use a larger machine"
            )


def _check_memory(study_file: StudyFile) -> None:
    needed, free = MEMORY_PER_TRIAL[study_file.size], psutil.virtual_memory().available
    if free < needed:
        raise StudyError(
            f"one {study_file.size} trial needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB "
            "are free; close other programs or use --size small"
        )
