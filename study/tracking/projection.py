"""A study's folder as MLflow runs: the folder is the truth, and a pass adds to MLflow whatever is missing there.

Passes are repeatable. A run is found by its tags; a metric's time is the run's start plus the trained seconds, so a
row sent twice is the same row; a trial's `digest` tag, written last, says that all of it has arrived.
"""

from __future__ import annotations

import getpass
import hashlib
import itertools
import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.front import Front, TrialPoint
from study.looking.front_files import FRONT_FILES, front_of, refresh_front
from study.storage.directory import StudyDirectory
from study.storage.reading import UnreadableFileError, read_object_if_any
from study.storage.summaries import TrialSummary, searched_parameters, summarise_trial, trial_folders
from study.tracking.links import view_tag
from study.tracking.store import PROJECT, artifacts_beside, experiment_of, find_runs, flatten, read_link, write_link
from study.tracking.study_report import describe, hypervolumes, write_front_report
from study.tracking.trial_report import copy_files, draw_figures
from trainables.names import as_key
from trainables.trust import read_regular

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

STUDY = ""
"""Key of the study's own run among the trials' runs."""
STATUS = {
    "complete": "FINISHED",
    "pruned": "KILLED",
    "failed": "FAILED",
    "running": "RUNNING",
    "waiting": "SCHEDULED",
}
"""What MLflow calls a state; the tag `state` has our own word."""
ENDED = ("complete", "pruned", "failed")
FRONT_EVERY = 30.0
"""Seconds between two refreshes of the front's files, which are megabytes."""
FRONT_SHARE = 0.05
"""Of a processor's time, at most, for these refreshes: with a thousand trials one takes seconds."""
METRICS_PER_REQUEST = 800
NAMES_PER_REQUEST = 100
"""Parameters, and tags. MLflow takes 1000 values at once, and 100 of either of these."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What is remembered of a trial that has ended. Studies have thousands, and the folder has the rest."""

    is_mixture: bool
    objectives: dict[str, float]
    """On validation; empty for a trial that is not complete, or lacks one."""


class Projection:
    """Records one study in one MLflow store. After any error make a new one: it finds out what has arrived."""

    def __init__(self, directory: StudyDirectory, client: MlflowClient, uri: str, project: str = PROJECT) -> None:
        self.directory = directory
        self.client = client
        self.uri = uri
        self.project = project
        self.study_file = directory.read_study_file()
        self.searched = searched_parameters(self.study_file)
        self.experiment = experiment_of(client, uri, directory.path.parent, project)
        self.study_id = (read_link(directory) or write_link(directory, uri, project, {})).study_id
        beside = artifacts_beside(uri, directory.path.parent)
        self.runs = find_runs(client, self.experiment, directory.name, self.study_id, beside)
        self._epochs_sent = {trial: int(run.data.tags.get("epochs", 0)) for trial, run in self.runs.items()}
        self._ended: dict[str, Ended] = {}
        self._undrawn: dict[str, str] = {}
        self._members: set[str] = set()
        self._parent = ""
        self._stamps: dict[str, tuple[int, bool]] = {}
        self._digests: dict[str, str] = {}
        self._drawn: dict[str, str] = {}
        self._front_due = 0.0
        self._hypervolumes_sent = 0
        self._study_state = ""

    def update(self, *, final: bool = False) -> None:
        """Bring MLflow up to the folder. `final`: nothing runs any more, and the front is drawn whatever its age."""
        alive = not final and self.directory.owner() is not None
        if STUDY not in self.runs:
            self._create_study_run()
        self._adopt()
        for folder in trial_folders(self.directory):
            # Every file of a trial is renamed into its folder, whose own time therefore tells of all of them.
            stamp = (_modified(folder), alive)
            if stamp != self._stamps.get(folder.name):
                self._update_trial(self._summarise(folder.name, alive))
                self._stamps[folder.name] = stamp
        self._update_front(final)
        self._update_study_state(alive)

    def draw_next(self) -> bool:
        """Draw the figures of one trial that has none, the front's members first; False when there is none left.

        Apart from `update`, because figures are what costs time, and nobody waits for them.
        """
        if not self._undrawn:
            return False
        name = min(self._undrawn, key=lambda trial: (trial not in self._members, trial))
        with tempfile.TemporaryDirectory(prefix="nt-study-") as report:
            draw_figures(self.directory, self._summarise(name), Path(report))
            self.client.log_artifacts(self.runs[name].info.run_id, report, "figures")
        self._log(name, tags={"figures": self._undrawn[name]})
        del self._undrawn[name]
        return True

    def _summarise(self, trial: str, alive: bool = False) -> TrialSummary:
        return summarise_trial(self.directory.trial(trial), self.searched, alive)

    # The study's own run -----------------------------------------------------------------------------------------

    def _create_study_run(self) -> None:
        environment = read_object_if_any(self.directory.path / "environment.json")
        commit = str(environment.get("code", "")).removesuffix("+changes")
        ends = [self._end(path.name) for path in trial_folders(self.directory)]
        # Not the file's time alone: a copied folder is younger than what happened in it. The same goes for trials.
        started = min([_milliseconds(self.directory.path / "environment.json"), *ends])
        self._create_run(STUDY, self.directory.name, started, {"mlflow.source.git.commit": commit})
        self.client.set_experiment_tag(self.experiment, *view_tag(self.directory.name, self.study_file.objectives))

    def _adopt(self) -> None:
        """Give trials whose study's run was made anew, or was one of two, the one that there is now for a parent."""
        parent = self.runs[STUDY].info.run_id
        if parent != self._parent:
            for key, run in self.runs.items():
                if key != STUDY and run.data.tags.get("mlflow.parentRunId") != parent:
                    self._log(key, tags={"mlflow.parentRunId": parent})
            self._parent = parent

    def _update_study_state(self, alive: bool) -> None:
        asked = self.study_file.trials + 1
        trained = sum(not trial.is_mixture for trial in self._ended.values())
        state = "running" if alive else "complete" if trained >= asked else "waiting"
        if state == self._study_state:
            return
        run_id = self.runs[STUDY].info.run_id
        # A study may be given more trials later, and MLflow never lets a parameter change: so that is a tag.
        settings = flatten(self.study_file.model_dump(mode="json", exclude={"trials"}))
        settings |= flatten(read_object_if_any(self.directory.path / "environment.json"))
        recorded = self.runs[STUDY].data.params
        self._log(STUDY, params={name: value for name, value in settings.items() if as_key(name) not in recorded})
        self.client.log_text(run_id, self.study_file.to_yaml(), "study.yaml")
        self._set_state(STUDY, state, self._last_end())
        self._log(STUDY, tags={"trials": str(self.study_file.trials)})
        self._study_state = state

    def _last_end(self) -> int:
        return max((self._end(trial) for trial in self._ended), default=int(time.time() * 1000))

    def _update_front(self, final: bool) -> None:
        # Their digests too: the full suite adds to the records of trials that were drawn long ago.
        complete = {name: self._digests[name] for name, trial in self._ended.items() if trial.objectives}
        if complete == self._drawn or (time.monotonic() < self._front_due and not final):
            return
        began = time.thread_time()
        write_link(self.directory, self.uri, self.project, {key: run.info.run_id for key, run in self.runs.items()})
        front = front_of(self.directory)
        digest = _digest_of_front(front)
        self._members = {point.trial for point in front.members}
        if self.runs[STUDY].data.tags.get("front") != digest:
            self._draw_front(set(complete))
            self._log(STUDY, tags={"front": digest})
        self._drawn = complete
        self._front_due = time.monotonic() + max(FRONT_EVERY, (time.thread_time() - began) / FRONT_SHARE)

    def _draw_front(self, complete: set[str]) -> None:
        front = refresh_front(self.directory)
        run_id = self.runs[STUDY].info.run_id
        with tempfile.TemporaryDirectory(prefix="nt-study-") as report:
            write_front_report(front, Path(report))
            for name in FRONT_FILES:  # and nothing else that lies or leads there
                content = read_regular(self.directory.front / name, inside=self.directory.path)
                (Path(report) / name).write_bytes(content)
            self.client.log_artifacts(run_id, report, "front")
        self._send_hypervolumes(complete)
        export = self.directory.command("export", "--pick", "knee", "--out", "knee")
        self._log(STUDY, tags={"mlflow.note.content": describe(front, self.experiment, run_id, export)})

    def _objectives(self, trial: TrialSummary) -> dict[str, float]:
        """Those of a trial that can be on a front; of others nothing."""
        values = {name: trial.validation.get(name, math.nan) for name in self.study_file.objectives}
        return values if trial.state == "complete" and all(map(math.isfinite, values.values())) else {}

    def _send_hypervolumes(self, complete: set[str]) -> None:
        """The front's hypervolume after each complete trial, in the order they ended; the step is their count."""
        order = sorted(complete, key=lambda trial: (self._end(trial), trial))
        values = hypervolumes([self._ended[trial].objectives for trial in order], self.study_file.objectives)
        steps = list(enumerate(zip(order, values, strict=True), start=1))[self._hypervolumes_sent :]
        metrics = [_metric("hypervolume", value, self._end(trial), step) for step, (trial, value) in steps]
        self._log(STUDY, metrics=metrics)
        self._hypervolumes_sent = len(order)

    # Trials ------------------------------------------------------------------------------------------------------

    def _update_trial(self, trial: TrialSummary) -> None:
        name, folder = trial.trial, self.directory.trial(trial.trial)
        if trial.state in ENDED:
            self._ended[name] = Ended(trial.is_mixture, self._objectives(trial))
        if name not in self.runs:
            started = min(_milliseconds(folder / "config.json"), self._end(name) - int(trial.seconds * 1000))
            self._create_run(name, name, started, {"trial": name})
        digest = self._digests[name] = _digest(trial)
        if trial.state == "complete" and self.runs[name].data.tags.get("figures") != digest:
            self._undrawn[name] = digest
        if self.runs[name].data.tags.get("digest") == digest:
            return
        metrics = self._epoch_metrics(trial)
        if trial.state in ENDED:
            metrics += self._result_metrics(trial)
        self._log(name, metrics=metrics, params=self._params(trial), tags={"epochs": str(len(trial.epochs))})
        self._epochs_sent[name] = len(trial.epochs)
        if trial.state in ENDED:
            self._send_files(trial)
        self._set_state(name, trial.state, self._end(name))
        self._log(name, tags={"reason": trial.reason, "digest": digest})

    def _params(self, trial: TrialSummary) -> dict[str, str]:
        if not trial.planned_epochs:
            return {}  # its configuration cannot be read, and MLflow never lets a parameter change
        config = self.directory.read_json(f"trials/{trial.trial}/config.json")
        mixed = {"kind": "mixture", "parents": " ".join(trial.parents), "weight": trial.weight}
        params = {
            **(mixed if trial.is_mixture else {"kind": "trial"}),
            "lam": trial.lam,
            **({"step_size": trial.step_size} if trial.defence == "nt" else {"defence": trial.defence}),
            **trial.training,
            **{name: config[name] for name in ("model", "size", "seed")},
            "epochs": trial.planned_epochs,
        }
        return {name: str(value) for name, value in params.items()}

    def _epoch_metrics(self, trial: TrialSummary) -> list[Metric]:
        """The rows of the epochs that MLflow has not seen; the step is the epoch."""
        sent = self._epochs_sent.get(trial.trial, 0)
        metrics, trained = [], 0.0
        for row in trial.epochs:
            trained += row["train_seconds"]
            timestamp = self.runs[trial.trial].info.start_time + int(trained * 1000)
            if row["epoch"] > sent:
                numbers = {
                    name: value for name, value in row.items() if name != "epoch" and isinstance(value, int | float)
                }
                metrics += [_metric(name, value, timestamp, row["epoch"]) for name, value in numbers.items()]
        return metrics

    def _result_metrics(self, trial: TrialSummary) -> list[Metric]:
        """The metrics of the score table, as `validation/…` and `test/…`; MLflow draws a lone step 0 as a bar."""
        timestamp = self.runs[trial.trial].info.start_time + int(trial.seconds * 1000)
        return [
            _metric(f"{split}/{name}", value, timestamp, 0)
            for split, values in (("validation", trial.validation), ("test", trial.test))
            for name, value in values.items()
        ]

    def _send_files(self, trial: TrialSummary) -> None:
        with tempfile.TemporaryDirectory(prefix="nt-study-") as report:
            copy_files(self.directory.trial(trial.trial), Path(report))
            self.client.log_artifacts(self.runs[trial.trial].info.run_id, report)

    def _end(self, trial: str) -> int:
        """When a trial ended, in ms since the epoch; the time of its folder when that is not recorded."""
        try:
            return int(self.directory.read_json(f"trials/{trial}/result.json")["finished"] * 1000)
        except (FileNotFoundError, UnreadableFileError, KeyError, TypeError, ValueError):
            return _milliseconds(self.directory.trial(trial))

    # MLflow ------------------------------------------------------------------------------------------------------

    def _create_run(self, key: str, name: str, started: int, tags: Mapping[str, str]) -> None:
        common = {
            "study": self.directory.name,
            "study_id": self.study_id,
            "baseline": self.study_file.baseline,
            "mlflow.runName": name,
            "mlflow.user": getpass.getuser(),
            "mlflow.source.name": "nt-study",
            "mlflow.source.type": "PROJECT",
        }
        if key != STUDY:
            common["mlflow.parentRunId"] = self.runs[STUDY].info.run_id
        self.runs[key] = self.client.create_run(self.experiment, start_time=started, tags={**common, **tags})

    def _set_state(self, key: str, state: str, ended: int) -> None:
        run_id = self.runs[key].info.run_id
        if state in ENDED:
            self.client.set_terminated(run_id, STATUS[state], ended)
        else:
            self.client.update_run(run_id, STATUS[state])
        self._log(key, tags={"state": state})

    def _log(
        self,
        key: str,
        *,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """As few requests as MLflow's limits allow.

        Values that are not finite are left out: MLflow cannot draw them, and the score table has them.
        """
        from mlflow.entities import Param, RunTag

        parts = (
            batched([metric for metric in metrics if math.isfinite(metric.value)], METRICS_PER_REQUEST),
            batched(
                [Param(as_key(name), storable(value)) for name, value in (params or {}).items()], NAMES_PER_REQUEST
            ),
            batched(
                [RunTag(name, storable(value)) for name, value in (tags or {}).items() if value], NAMES_PER_REQUEST
            ),
        )
        for request in itertools.zip_longest(*parts, fillvalue=()):
            self.client.log_batch(self.runs[key].info.run_id, *request)


def _metric(name: str, value: float, timestamp: int, step: int) -> Metric:
    from mlflow.entities import Metric

    return Metric(as_key(name), value, timestamp, step)


def storable(text: str) -> str:
    """A value that a database takes: without NUL and the lone surrogates of file names that are no UTF-8."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def batched(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """`items` in parts of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def _digest(content: TrialSummary | TrialPoint) -> str:
    """Equal for equal trials; another one as soon as anything that is recorded changes."""
    return _hash(json.dumps(asdict(content), sort_keys=True))


def _digest_of_front(front: Front) -> str:
    """The same of a front, point by point: as one text thousands of trials take hundreds of megabytes."""
    rest = [front.objectives, len(front.members), front.reference_point, front.hypervolume, front.doubt]
    return _hash("".join([json.dumps(rest), *map(_digest, front.points)]))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _modified(path: Path) -> int:
    """In ns since the epoch; 0 for a file that is not there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _milliseconds(path: Path) -> int:
    return _modified(path) // 1_000_000
