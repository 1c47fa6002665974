"""Trials fill fractions of GPUs: as many at a time as fit, each shown the one it got."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from running_cluster import RunningCluster

SCRIPT = """
import json, os, sys, time
from pathlib import Path

from ray import tune

from search_spaces.schema import load_study_file
from study.storage.directory import create
from study.cluster.session import start_ray
from study.search.durable import DurableSearch, open_optuna
from study.running.tuner import run_trials


class Notes(tune.Trainable):
    # Stands in for a trial: says when it ran and which GPU it was shown.
    def setup(self, config):
        self.trial = config["trial"]

    reset_config = lambda self, new_config: (self.setup(new_config), True)[1]
    save_checkpoint = load_checkpoint = lambda self, path: None

    def step(self):
        began = time.time()
        studies = Path(self.config["directory"]).parent
        (studies / f"{self.trial}.began").touch()
        while len(list(studies.glob("*.began"))) < 4 and time.time() < began + 60:  # the first ones wait for each other
            time.sleep(0.1)
        row = {"gpus": os.environ["CUDA_VISIBLE_DEVICES"], "began": began, "ended": time.time()}
        with open(studies / "notes.jsonl", "a") as file:
            file.write(json.dumps(row) + "\\n")
        return {"done": True}


study_file = load_study_file(
    "hyperiqa",
    preset="smoke",
    overrides={
        "trials": 8,
        "first_points": [],
        "sampler": "random",
        "recipe": "scratch",
        "resources_per_trial": {"cpu": 0.25, "gpu": 0.5},
    },
)
studies = Path(sys.argv[1])
start_ray(study_file, studies)
directory = create(studies, "gpus", study_file)
run_trials(directory, study_file, DurableSearch(directory, study_file, open_optuna(directory, study_file)), [],
           lambda: False, actor=Notes)
"""


@pytest.mark.slow
def test_halves_of_two_gpus_run_four_trials_at_a_time(cluster: RunningCluster, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env=cluster.environment | {"RAY_ADDRESS": cluster.address},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    notes = [json.loads(line) for line in (tmp_path / "notes.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(notes) == 9, "eight trials and the baseline"
    assert {note["gpus"] for note in notes} == {"0", "1"}, "each trial is shown one GPU"

    def at_once(moment: float, gpu: str | None = None) -> int:
        shown = [note for note in notes if gpu in (None, note["gpus"])]
        return sum(note["began"] <= moment < note["ended"] for note in shown)

    moments = [note["began"] for note in notes]
    assert max(at_once(moment) for moment in moments) == 4
    assert all(at_once(moment, gpu) <= 2 for moment in moments for gpu in ("0", "1"))
