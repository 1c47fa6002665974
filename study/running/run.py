"""A study from start to end, in one screen: prepare, schedule, show, record."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from search_spaces.schema import StudyFile
from study.cluster.session import start_ray
from study.cluster.watch import watched
from study.errors import FAILING, FULL, StudyError
from study.running.waiting import waiting
from study.storage.directory import StudyDirectory, create
from study.storage.frozen import check_unchanged, environment_of
from trainables.config import BASELINE
from trainables.logs import LogFile

if TYPE_CHECKING:
    from study.repeating.suite_tasks import Extent
    from study.search.durable import DurableSearch
    from trainables.config import TrialConfig

RAY = "starting Ray and its processes"


def prepare(studies: Path, name: str, study_file: StudyFile, console: Console | None = None) -> StudyDirectory:
    """Make a study's folder with its frozen file, its split and what it ran on. Everything wrong is said here.

    console: hears what is being waited for.
    """
    from study.running.ready import look_over
    from trainables.data.split import MosScale

    console = console or Console(quiet=True)
    with waiting(console, "looking at study file, weights and images"):
        ready = look_over(studies, name, study_file)
    assert ready is not None
    study_file, images = ready.study_file, ready.images
    scale = MosScale.of_training(ready.rows)
    rows = ready.rows.assign(raw_mos=ready.rows["mos"], mos=scale.normalise(ready.rows["mos"].to_numpy()))
    with watched("the same command again"), waiting(console, RAY):
        start_ray(study_file, studies)
    counts = {str(split): int(count) for split, count in rows["split"].value_counts().items()}
    environment = environment_of(study_file, images, scale, counts)
    return create(studies, name, study_file, rows=rows, files={"environment.json": environment})


def run(
    directory: StudyDirectory,
    console: Console,
    mlflow_uri: str | None = None,
    *,
    force: bool = False,
    tracked: bool = True,
    remedy: str | None = None,
    names: Mapping[str, str] | None = None,
) -> bool:
    """Run what is left of a study. Returns whether it is finished; False when it was interrupted.

    tracked: whether MLflow hears of it. remedy: what to do about a study that failed; by default, resume it.
    names: trial -> what its progress calls it, where that is not its name.

    StudyError when the study cannot go on, and when it would go on otherwise than it began, unless `force`.
    """
    from study.mixing.filling import to_fill
    from study.search.durable import DurableSearch, open_optuna
    from study.tracking.tracker import is_behind

    with _trouble_explained(directory), directory.locked(), _logging_to(directory.driver_log):
        study_file = directory.read_study_file()
        search = DurableSearch(directory, study_file, open_optuna(directory, study_file))
        if search.remaining or to_fill(directory, study_file) or _to_attack(directory, study_file):
            _settle_study_file(directory)
            with waiting(console, "looking whether images and code are as they were"):
                check_unchanged(directory, force=force)
            with watched(remedy or directory.command("resume")):
                with waiting(console, RAY):
                    start_ray(study_file, directory.path.parent, stop=directory.stop_requested)
                record = _recorded(directory, mlflow_uri, console) if tracked else contextlib.nullcontext(_nobody)
                with record as changed:
                    _run_trials(directory, study_file, search, console, changed, names)
        elif tracked and is_behind(directory):
            with _recorded(directory, mlflow_uri, console):
                pass  # the last driver was killed, or MLflow away, when only this was left
        if search.baseline_error is not None:
            raise StudyError(
                f"the λ=0 baseline failed, and with it the study: {search.baseline_error}; the traceback is in "
                f"{directory.trial(BASELINE) / 'error.txt'}; once the cause is removed, go on with: "
                f"{remedy or directory.command('resume')}"
            )
        if search.broken is not None:
            raise StudyError(
                f"the study stopped because its record could not be kept: {search.broken}; what was finished is kept; "
                f"once the cause is removed, go on with: {remedy or directory.command('resume')}"
            )
        if search.gave_up is not None:
            raise StudyError(
                f"the first {study_file.give_up_after} trials all failed with the same error, so the rest were not "
                f"run: {search.gave_up}; the tracebacks are in the trials' error.txt; once the cause is removed, "
                f"go on with: {remedy or directory.command('resume', '--retry-failed')}"
            )
        return not (search.remaining or to_fill(directory, study_file) or _to_attack(directory, study_file))


def _run_trials(
    directory: StudyDirectory,
    study_file: StudyFile,
    search: DurableSearch,
    console: Console,
    changed: Callable[[], None],
    names: Mapping[str, str] | None,
) -> None:
    from study.cluster.resources import resources_of_trials, slots_of
    from study.mixing.filling import fill
    from study.repeating.suite_tasks import run_suite
    from study.running.patience import Patience
    from study.running.progress import Progress
    from study.running.tuner import run_trials
    from study.storage.summaries import summarise

    with _stop_on_interrupt(console) as interrupted:

        def stop() -> bool:
            return interrupted.is_set() or search.is_over or directory.stop_requested()

        if search.remaining:
            patience = Patience(study_file.trial_timeout, search.said, console.print)
            slots = slots_of(resources_of_trials(study_file))
            at_a_time = max(1, min(slots, study_file.max_concurrent or slots))
            with Progress(study_file, summarise(directory), console, changed, names, at_a_time) as progress:
                run_trials(directory, study_file, search, [progress, patience], stop)
        if not stop() and search.remaining == 0:
            fill(directory, console, stop, changed)
        if not stop() and search.remaining == 0:
            run_suite(directory, _to_attack(directory, study_file), console, stop)


def _settle_study_file(directory: StudyDirectory) -> None:
    """Put what was written into a study's file since, such as a further attack, into types; ValueError if it cannot."""
    study_file = directory.read_study_file()
    typed = study_file.with_typed_parameters()
    if typed != study_file:
        directory.write_study_file(typed)
        directory.send()


def _to_attack(directory: StudyDirectory, study_file: StudyFile) -> list[str]:
    """The finished trials that the full suite has still to run on, if the study wants it."""
    from study.repeating.suite_tasks import trials_to_attack

    return [] if study_file.full_suite == "none" else trials_to_attack(directory, study_file.full_suite)


@contextlib.contextmanager
def _recorded(directory: StudyDirectory, uri: str | None, console: Console) -> Iterator[Callable[[], None]]:
    """Keeps MLflow's record up with the study; yields what to call when something has changed."""
    from study.tracking.tracker import Tracker

    tracker = Tracker(directory, uri, warn=console.print)
    tracker.start()
    try:
        yield tracker.notify
    finally:
        console.print("[dim]writing the front and MLflow's record …[/]")
        tracker.close()


def _nobody() -> None:
    """Hears of changes when nobody else does."""


def run_suite_of(directory: StudyDirectory, extent: Extent, console: Console) -> None:
    """Run the full attack suite on a study's finished trials, and refresh its front and MLflow's record."""
    from study.repeating.suite_tasks import trials_to_attack
    from study.storage.summaries import summarise
    from study.tracking.tracker import sync

    study_file = directory.read_study_file()
    if not study_file.suite:
        raise StudyError(f"the study file of {directory.name!r} names no suite; add attacks under its key 'suite'")
    trials = trials_to_attack(directory, extent)
    if not any(trial.state == "complete" for trial in summarise(directory)):
        raise StudyError(f"study {directory.name!r} has no finished trial to attack yet")
    if not trials:
        console.print(f"every trial has been attacked with {', '.join(study_file.suite)} already")
        return
    attack(directory, trials, console)
    sync(directory)


def blend(directory: StudyDirectory, mixtures: int, console: Console, *, force: bool = False) -> bool:
    """Fill the front of a study with up to `mixtures` mixtures, those it has counted in. False when interrupted.

    StudyError where nothing can be mixed, and where the study was begun with other code or images, unless `force`.
    """
    from study.mixing.filling import fill, points_of
    from study.tracking.tracker import sync

    if not points_of(directory):
        raise StudyError(f"study {directory.name!r} has no finished trial that could be mixed yet")
    with directory.locked(), _logging_to(directory.driver_log), _stop_on_interrupt(console) as interrupted:
        study_file = directory.read_study_file().model_copy(update={"mixtures": mixtures})
        check_unchanged(directory, force=force)
        directory.write_study_file(study_file)

        def stop() -> bool:
            return interrupted.is_set() or directory.stop_requested()

        with watched(directory.command("blend")):
            with waiting(console, RAY):
                start_ray(study_file, directory.path.parent)
            fill(directory, console, stop)
        stopped = stop()
    sync(directory)
    return not stopped


def attack(
    directory: StudyDirectory, trials: list[str], console: Console, names: Mapping[str, str] | None = None
) -> bool:
    """Run the study file's suite on some of a study's finished trials. Returns whether that was not interrupted."""
    from study.repeating.suite_tasks import run_suite

    if not trials:
        return True
    with directory.locked(), _logging_to(directory.driver_log), _stop_on_interrupt(console) as interrupted:
        _settle_study_file(directory)

        def stop() -> bool:
            return interrupted.is_set() or directory.stop_requested()

        with watched(directory.command("suite")):
            with waiting(console, RAY):
                start_ray(directory.read_study_file(), directory.path.parent)
            run_suite(directory, trials, console, stop, names)
        return not stop()


def train_again(place: StudyDirectory, configs: Sequence[TrialConfig], console: Console) -> bool:
    """Train the refits of a study, `place` being their folder. Returns whether that was not interrupted."""
    from study.repeating.refit import run_refits

    if not configs:
        return True
    with place.locked(), _logging_to(place.driver_log), _stop_on_interrupt(console) as interrupted:

        def stop() -> bool:
            return interrupted.is_set() or place.stop_requested()

        with watched("the same command again"):
            with waiting(console, RAY):
                start_ray(place.read_study_file(), place.path.parent)
            run_refits(place, configs, console, stop)
        return not stop()


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = LogFile(path)
    logger = logging.getLogger()
    level = logger.level
    # Ray's own handler writes to the terminal; what it says belongs into the file with the rest.
    ray_logger = logging.getLogger("ray")
    ray_handlers, ray_logger.handlers, ray_logger.propagate = ray_logger.handlers, [], True
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        ray_logger.handlers = ray_handlers
        handler.close()


@contextlib.contextmanager
def _trouble_explained(directory: StudyDirectory) -> Iterator[None]:
    """Only the user can repair a full disk, a deleted folder, a locked database: StudyError instead of a traceback."""
    from study.search.durable import storage_errors, storage_reason

    try:
        yield
    except storage_errors(StudyError, OSError) as error:
        directory.check_there()
        if isinstance(error, storage_errors()):
            raise StudyError(
                f"the search's memory {directory.search_place} cannot be used: {storage_reason(error)}; what was "
                f"finished is kept; once it can be used again, go on with: {directory.command('resume')}"
            ) from None
        if not isinstance(error, OSError) or error.errno not in (*FULL, *FAILING):
            raise
        studies = directory.path.parent
        trouble, remedy = f"no space left in {studies}", "free some space"
        if error.errno in FAILING:
            trouble, remedy = f"the disk of {studies} fails ({error.strerror})", "repair or replace it"
        raise StudyError(
            f"{trouble}; what was finished is kept: {remedy}, then {directory.command('resume')}"
        ) from None


@contextlib.contextmanager
def _stop_on_interrupt(console: Console) -> Iterator[threading.Event]:
    """The first Ctrl-C (or SIGTERM) asks the run to stop, the second one ends the process."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        console.print("stopping: finished epochs are kept; press Ctrl-C again to leave at once")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
