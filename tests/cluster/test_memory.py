"""No more trials at a time than a machine has memory for: a laptop's four cores and 8 GB are two trials of `mobile`."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from search_spaces.schema import Resources, load_study_file
from study.cluster.session import _cpus


@pytest.mark.parametrize(("gigabytes", "size", "cpus"), [(9, "mobile", 2), (3, "mobile", 1), (9, "small", 4)])
def test_a_laptop_with_four_cores(gigabytes: int, size: str, cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray._private.utils.get_num_cpus", lambda: 4)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=gigabytes * 10**9))
    study_file = load_study_file("hyperiqa", preset="demo", overrides={"size": size})
    assert _cpus(study_file) == cpus
    asks = study_file.model_copy(update={"resources_per_trial": Resources(cpu=4)})
    assert _cpus(asks) is None
