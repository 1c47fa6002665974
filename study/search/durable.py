"""A durable searcher: Ray Tune asks, Optuna answers from a storage that survives anything.

Ray Tune's own `OptunaSearch` keeps its study in the driver's memory and tells Optuna that a trial without finite
objectives is complete, or nothing at all. Here the Optuna study lives in the study's folder, every trial's folder says
how far it came, and `reconcile` brings the two together whenever a driver starts: so nothing of Ray's is restored,
and no finished trial is run twice.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import shutil
import warnings
from collections.abc import Iterator
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from search_spaces.schema import StudyFile
from study.errors import StudyError
from study.known import is_known, remember
from study.running.actor import FAILED
from study.running.unpickled import Unpickled
from study.search.journal import JournalStorage
from study.search.samplers import BASELINE_VALUES, LAST_VALUES, MIXTURE_VALUES, SAMPLERS, distributions
from study.storage.directory import StudyDirectory
from study.storage.summaries import read_epochs
from trainables.config import BASELINE
from trainables.objectives import measure, objective
from trainables.record import SCORES, read_scores
from trainables.seeding import derive_seed
from trainables.trust import without_secrets

log = logging.getLogger(__name__)

NUMBERS = re.compile(r"\b(t\d{3,}|baseline)\b|\d+(\.\d+)?(e[+-]?\d+)?")
"""What may differ between two messages of the same error: names of trials, and numbers."""
NO_ERROR = "its process ended without an error of its own (out of memory, or its node was lost)"
FULL_DISK = ("No space left on device", "Disk quota exceeded", "PytorchStreamWriter failed writing")
SPARE_BYTES = 2**20
"""A disk with less room than this is full: a checkpoint needs more."""
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


def trial_name(number: int) -> str:
    """Name of the trial with this number in the Optuna study."""
    return f"t{number:03d}"


def open_optuna(directory: StudyDirectory, study_file: StudyFile) -> optuna.Study:
    """The study's Optuna study, made on first use with its first points queued."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=open_storage(directory, study_file),
        study_name=directory.name,
        directions=[objective(name).direction for name in study_file.objectives],
        load_if_exists=True,
    )
    with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore"):
        study.set_metric_names(list(study_file.objectives))
    known = len(study.get_trials(deepcopy=False))
    for point in study_file.first_points[known : study_file.trials]:
        study.enqueue_trial(dict(point))
    commit(study)
    # A fresh seed after a resume, or the sampler would repeat its first suggestions.
    study.sampler = SAMPLERS[study_file.sampler](derive_seed(study_file.seed, "sampler", known), study_file)
    return study


def retry_failed(directory: StudyDirectory, study_file: StudyFile) -> int:
    """Queue the points of failed trials again, each once; returns how many trials the study then has to ask for."""
    study = open_optuna(directory, study_file)
    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get("retries") for trial in trials}
    failed = [trial for trial in trials if trial.state == TrialState.FAIL and trial.number not in retried]
    for trial in failed:
        study.enqueue_trial(trial.params, user_attrs={"retries": trial.number})
    commit(study)
    # The second is larger where a kill came between queueing and asking for more.
    return max(study_file.trials + len(failed), len(trials) + len(failed))


def commit(study: optuna.Study) -> None:
    """Keep what a study was asked and told, in a storage that does not do that with each of its calls."""
    if isinstance(study._storage, JournalStorage):
        study._storage.commit()


def check_storage(directory: StudyDirectory, study_file: StudyFile) -> None:
    """StudyError when a database that others use too cannot be reached or has a study of this name already."""
    if study_file.storage is None:
        return
    remember(study_file.storage)
    storage = open_storage(directory, study_file)
    if directory.name in optuna.get_all_study_names(storage):
        raise StudyError(
            f"the Optuna storage {study_file.storage} already has a study named {directory.name!r}; "
            "choose another --name"
        )


def open_storage(directory: StudyDirectory, study_file: StudyFile) -> optuna.storages.BaseStorage:
    """Where the search of a study is remembered. StudyError where that cannot be opened, or is not the user's own."""
    if study_file.storage is None and directory.mirror is not None:
        return JournalStorage(directory.search_log, directory.mirror)
    url = study_file.storage or directory.optuna_url
    if study_file.storage is not None and not is_known(url):
        raise StudyError(
            f"study {directory.name!r} keeps its search in {without_secrets(url)}, an address that you have not named "
            f"yourself, so your credentials are not sent there; if it is yours, add: --storage "
            f"{without_secrets(url)}"
        )
    try:
        return optuna.storages.get_storage(url)
    except storage_errors(ImportError) as error:
        said = f"the Optuna storage {url} cannot be opened: {storage_reason(error)}"
        raise StudyError(without_secrets(said)) from None


def storage_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What Optuna and SQLAlchemy raise when the storage fails, and others, to be caught together."""
    import sqlalchemy.exc

    return (*others, optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError)


def storage_reason(error: BaseException) -> str:
    """What the database said, in a line: Optuna's own words only point to it."""
    if isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    return "another process holds the search's database (it is locked)" if said == "database is locked" else said


class DurableSearch(Unpickled, Searcher):
    """Suggests the λ=0 baseline, then trials that an earlier run left unfinished, then new ones.

    A suggestion is a Tune config `{"trial": name, "point": {…}}`. Where trials start from the baseline, nothing else
    is suggested until the baseline is complete.
    """

    def __init__(self, directory: StudyDirectory, study_file: StudyFile, optuna_study: optuna.Study) -> None:
        super().__init__()
        self.directory = directory
        self.study_file = study_file
        self.optuna_study = optuna_study
        self.gave_up: str | None = None
        """The error that the first trials of this run all failed with, once there are too many of them."""
        self.broken: str | None = None
        """Why the storage or the folder can no longer be written or read, once that has happened."""
        self._reasons: list[str] = []
        """How the NT trials that ended in this run failed; empty strings for those that did not."""
        self.said: dict[str, str] = {}
        """Ray trial -> the error that its process failed with, as the scheduler heard it."""
        self._names: dict[str, str] = {}
        """Ray trial -> the trial it was given, until it has ended; an interrupted one stays."""
        self._distributions = distributions(study_file.space)
        self._check_memory()
        self._unfinished = self.reconcile()
        self._baseline = self._ended(BASELINE) or "waiting"
        if self._baseline == "failed":
            # Nothing can be said without it, so every run tries again.
            for file in (SCORES, "result.json"):
                directory.remove(f"trials/{BASELINE}/{file}")
            self._baseline = "waiting"
        self._show_baseline()
        self._show_mixtures()
        commit(optuna_study)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be run, whatever remains."""
        return self.gave_up is not None or self.broken is not None or self._baseline == "failed"

    @property
    def baseline_error(self) -> str | None:
        """Why the baseline failed in this run, or None."""
        if self._baseline != "failed":
            return None
        return str(self.directory.read_json(f"trials/{BASELINE}/result.json")["reason"])

    @property
    def remaining(self) -> int:
        """Trials that still have to run, the baseline included."""
        return (self._baseline == "waiting") + len(self._unfinished) + len(self._names) + self._new

    @property
    def _new(self) -> int:
        asked = [t for t in self.optuna_study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
        return max(0, self.study_file.trials - len(asked))

    def reconcile(self) -> list[int]:
        """Tell Optuna what the folders know and it does not; returns the numbers of trials to go on with."""
        unfinished = []
        for trial in self.optuna_study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not self._tell_from_folder(trial.number):
                unfinished.append(trial.number)
        return unfinished

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        with self._breaking():
            return self._suggest(trial_id)
        return None  # the run is being stopped

    def _suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._baseline == "waiting":
            self._baseline = "running"
            self._names[trial_id] = BASELINE
            return {"trial": BASELINE, "point": {}}
        if self._baseline == "failed":
            return Searcher.FINISHED  # without it nothing can be said of the others
        if self.study_file.recipe.init == "baseline" and self._baseline == "running":
            return None  # there is nothing to start from yet
        if self._unfinished:
            number = self._unfinished.pop(0)
            point = self._point_of(number)
        elif self._new:
            trial = self.optuna_study.ask(dict(self._distributions))
            number, point = trial.number, trial.params
        else:
            return Searcher.FINISHED
        name = trial_name(number)
        self._names[trial_id] = name
        self._set_attribute(number, "trial", name)
        self._set_attribute(number, "ray_trial", trial_id)
        # Before anybody runs it: a driver that is killed must not give its number to another point.
        commit(self.optuna_study)
        return {"trial": name, "point": dict(point)}

    def _point_of(self, number: int) -> dict[str, float]:
        """An unfinished trial's point; what a driver that was killed while asking did not get to is suggested now."""
        frozen = next(t for t in self.optuna_study.get_trials(deepcopy=False) if t.number == number)
        if set(frozen.params) >= set(self._distributions):
            return dict(frozen.params)
        trial = optuna.Trial(self.optuna_study, self._optuna_id(number))
        return {name: trial._suggest(name, axis) for name, axis in self._distributions.items()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        name = self._names.get(trial_id)
        if name is not None and name != BASELINE and not result["done"]:
            with self._breaking():
                self._keep_values(int(name.removeprefix("t")), result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        name = self._names.get(trial_id)
        if name is not None:
            with self._breaking():
                self._complete(trial_id, name, "" if error else (result or {}).get(FAILED))

    @contextlib.contextmanager
    def _breaking(self) -> Iterator[None]:
        """Storage or folder failing ends the run, not the trial: Tune would train a finished one again."""
        try:
            yield
        except storage_errors(StudyError, OSError) as error:
            log.exception("the study's record could not be kept")
            self.broken = self.broken or storage_reason(error)

    def _complete(self, trial_id: str, name: str, error: str | None) -> None:
        """error: what the trial said that it failed with, "" where it failed without a word, None if it did not."""
        self.directory.fetch_trial(name)
        if error is not None and self._ended(name) is None:
            reason = _last_error(self.directory, name) or error or self.said.get(trial_id, NO_ERROR)
            if _disk_was_full(self.directory, reason):
                self.broken = f"no space left for {self.directory.path.parent}, where {name} ran: {reason}"
                return  # and the trial stays as it is, to go on when there is some
            self._describe(name)
            self.directory.write_result(name, "failed", reason)
        state = self._ended(name)
        if state is not None:
            del self._names[trial_id]
        if name == BASELINE:
            self._baseline = state or "waiting"
            self._show_baseline()
        elif state is not None:
            self._tell_from_folder(int(name.removeprefix("t")))
            self._count_failures(name, state)
        commit(self.optuna_study)

    def _describe(self, name: str) -> None:
        """Write down what a trial was to be run with that failed in its set-up, before it did so itself."""
        if not (self.directory.trial(name) / "config.json").exists():
            point = {} if name == BASELINE else self._point_of(int(name.removeprefix("t")))
            config = self.study_file.trial_config(name, point)
            self.directory.write_json(f"trials/{name}/config.json", config.to_dict())
            self.directory.send_file(name, "config.json")

    def _check_memory(self) -> None:
        """StudyError where the search has lost its memory, and would give finished trials' names to other points."""
        asked = [t for t in self.optuna_study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
        there = {path.name for path in self.directory.trials.glob("t*") if path.name.removeprefix("t").isdigit()}
        lost = sorted(there - {trial_name(trial.number) for trial in asked})
        if lost:
            raise StudyError(
                f"study {self.directory.name!r} has a trial {lost[0]} that its search storage knows nothing of; bring "
                f"back {self.study_file.storage or self.directory.search_place}, or launch a new study"
            )

    def _show_baseline(self) -> None:
        """Tell the Optuna study, for samplers and people, what λ=0 reaches."""
        if self._baseline == "complete":
            values = objective_values(self.directory, self.study_file, BASELINE)
            self.optuna_study.set_user_attr(BASELINE_VALUES, values)

    def _show_mixtures(self) -> None:
        """Tell the Optuna study what the mixtures reach that earlier runs measured between its trials."""
        found = sorted(path.name for path in self.directory.trials.glob("*~*@*"))
        values = [
            objective_values(self.directory, self.study_file, name)
            for name in found
            if _read_state(self.directory, name) == "complete"
        ]
        if values:
            self.optuna_study.set_user_attr(MIXTURE_VALUES, [v for v in values if all(map(math.isfinite, v))])

    def _count_failures(self, name: str, state: str) -> None:
        reason = str(self.directory.read_json(f"trials/{name}/result.json")["reason"])
        self._reasons.append(NUMBERS.sub("#", reason) if state == "failed" else "")
        first = self._reasons[: self.study_file.give_up_after]
        if len(first) == self.study_file.give_up_after and all(first) and len(set(first)) == 1:
            self.gave_up = reason

    def _tell_from_folder(self, number: int) -> bool:
        """Tell Optuna how a trial ended, once; False when its folder says that it has not."""
        name = trial_name(number)
        if self._ended(name) is None:
            return False
        result = self.directory.read_json(f"trials/{name}/result.json")
        state = _STATES[result["state"]]
        values = objective_values(self.directory, self.study_file, name) if state == TrialState.COMPLETE else None
        if result["reason"]:
            self._set_attribute(number, "reason", result["reason"])
        if state == TrialState.PRUNED and (epochs := read_epochs(self.directory.trial(name))):
            self._keep_values(number, epochs[-1])
        # Only an unfinished trial needs what it takes to go on.
        self.directory.remove(f"trials/{name}/checkpoint.pt")
        self.optuna_study.tell(number, values, state, skip_if_finished=True)
        return True

    def _ended(self, name: str) -> str | None:
        """How a trial ended, or None; one with a record ended even if nobody was left to hear of it."""
        if _read_state(self.directory, name) is None and (self.directory.trial(name) / SCORES).exists():
            self.directory.write_result(name, *_verdict(self.directory, self.study_file, name))
        return _read_state(self.directory, name)

    def _keep_values(self, number: int, row: dict[str, Any]) -> None:
        """What the trial has reached so far: samplers may learn from it, and a pruned trial keeps it."""
        if all(name in row for name in self.study_file.objectives):
            self._set_attribute(number, LAST_VALUES, [float(row[name]) for name in self.study_file.objectives])
            self._set_attribute(number, "last_epoch", int(row["epoch"]))

    def _set_attribute(self, number: int, key: str, value: Any) -> None:
        storage = self.optuna_study._storage
        storage.set_trial_user_attr(self._optuna_id(number), key, value)

    def _optuna_id(self, number: int) -> int:
        return self.optuna_study._storage.get_trial_id_from_study_id_trial_number(self.optuna_study._study_id, number)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the storage and the folders are the searcher's memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


def objective_values(directory: StudyDirectory, study_file: StudyFile, trial: str) -> list[float]:
    """The objectives of a finished trial, computed from the validation rows of its score table."""
    metrics = measure(read_scores(directory.trial(trial) / SCORES), "validation", worst_of=study_file.attacks)
    return [metrics[name] for name in study_file.objectives]


def _read_state(directory: StudyDirectory, trial: str) -> str | None:
    if not (directory.trial(trial) / "result.json").exists():
        return None
    return str(directory.read_json(f"trials/{trial}/result.json")["state"])


def _verdict(directory: StudyDirectory, study_file: StudyFile, trial: str) -> tuple[str, str]:
    """How a trial that has a record ended, and why if it is not complete."""
    values = dict(zip(study_file.objectives, objective_values(directory, study_file, trial), strict=True))
    bad = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
    return ("failed", f"{' and '.join(bad)} on the validation images") if bad else ("complete", "")


def _disk_was_full(directory: StudyDirectory, reason: str) -> bool:
    """Whether a trial failed for want of space, which is no fault of its own. Its traceback may not have fitted."""
    return any(text in reason for text in FULL_DISK) or shutil.disk_usage(directory.path).free < SPARE_BYTES


def _last_error(directory: StudyDirectory, trial: str) -> str:
    """The last line of the trial's traceback; empty where it did not live long enough to write one."""
    path = directory.trial(trial) / "error.txt"
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1] if lines else ""
