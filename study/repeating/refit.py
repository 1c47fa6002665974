"""Chosen trials trained once more, on training and validation images together, as nothing is left to be chosen.

<study>/refit/ is a study like this one whose split has the validation images in the training part: the λ=0 baseline and
the trials asked for, under their own names, with their own seed, λ and h, for as many epochs as validation chose. Their
score tables are of test images alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console

from study.errors import StudyError
from study.repeating.suite_tasks import STOP_SECONDS, attacks_of, device_here, not_yet_attacked, read_trial_config
from study.running.run import attack, train_again
from study.running.waiting import waiting
from study.storage.directory import REFIT, StudyDirectory, create, open_directory
from study.storage.frozen import software
from study.storage.summaries import read_epochs
from trainables.config import BASELINE, Mixture, TrialConfig, trial_config_from_dict
from trainables.objectives import measure
from trainables.record import SCORES, read_scores


def refit(directory: StudyDirectory, trials: Sequence[str], console: Console) -> bool:
    """Train `trials` and the baseline on training and validation images together, and attack them as the study's own.

    Returns whether all of it is finished; what is, is not done again. StudyError for a mixture, which is not trained.
    """
    for trial in trials:
        if (mixture := Mixture.named(trial)) is not None:
            raise StudyError(
                f"{trial} was mixed of {' and '.join(mixture.parents)} and not trained itself; refit one of these: "
                f"{directory.command('refit', '--pick', mixture.parents[-1])}"
            )
    names = list(dict.fromkeys((BASELINE, *trials)))
    configs = [refit_config(directory, trial) for trial in names]
    place = refit_study(directory)
    missing = [config for config in configs if not (place.trial(config.trial) / SCORES).exists()]
    if not train_again(place, missing, console):
        return False
    suite = set(directory.read_study_file().suite)
    attacked = [trial for trial in names if suite and suite <= set(attacks_of(directory.trial(trial)))]
    return attack(place, not_yet_attacked(place, attacked), console)


def refit_config(directory: StudyDirectory, trial: str) -> TrialConfig:
    """What a finished trial is trained again with: everything as it was, its stages as long as validation chose."""
    from trainables.trial import chosen_epochs

    folder = directory.trial(trial)
    if not (folder / SCORES).exists():
        raise StudyError(f"trial {trial} of study {directory.name!r} is not finished, so validation has not chosen yet")
    config = read_trial_config(folder)
    return dataclasses.replace(config, refit=chosen_epochs(config, read_epochs(folder)))


def refit_study(directory: StudyDirectory) -> StudyDirectory:
    """The folder of a study's refits, made where there is none."""
    place = StudyDirectory(directory.path / REFIT)
    if (place.path / "study.yaml").exists():
        return place
    study_file = directory.read_study_file()
    rows = directory.read_split()
    rows = rows.assign(split=rows["split"].replace("validation", "train"))
    environment = {**directory.read_json("environment.json"), **software()}
    counts = {str(split): int(count) for split, count in rows["split"].value_counts().items()}
    environment["data"] = {**environment["data"], "images": counts}
    return create(
        directory.path,
        REFIT,
        study_file.model_copy(update={"storage": None, "full_suite": "none", "mixtures": 0}),
        rows=rows,
        files={"environment.json": environment},
    )


def run_refits(
    place: StudyDirectory, configs: Sequence[TrialConfig], console: Console, stop: Callable[[], bool]
) -> None:
    """Train as Ray tasks, the baseline first where others start from it. Ray must be running.

    StudyError, once all have ended, that names what failed and why.
    """
    import ray

    from study.cluster.resources import resources_of_trials

    wanted = resources_of_trials(place.read_study_file())
    task = ray.remote(num_cpus=wanted.cpu, num_gpus=wanted.gpu, resources=wanted.custom, max_retries=1)(_refit)
    failed: dict[str, str] = {}
    first = [config for config in configs if config.is_baseline and config.recipe.init == "baseline"]
    for together in (first, [config for config in configs if config not in first]):
        pending = {task.remote(place.address, config.to_dict()): config.trial for config in together}
        with waiting(console, f"training {', '.join(pending.values())} on training and validation images"):
            while pending and not stop():
                done, _ = ray.wait(list(pending), timeout=STOP_SECONDS)
                for one in done:
                    trial = pending.pop(one)
                    try:
                        ray.get(one)
                    except ray.exceptions.RayError as error:
                        failed[trial] = str(error).strip().splitlines()[-1]
                        continue
                    place.fetch_trial(trial)
                    place.write_result(trial, "complete")
                    console.print(f"{trial}: trained again and measured on test images", highlight=False)
        for one in pending:
            ray.cancel(one, force=True)
        if failed or stop():
            break
    if failed:
        trial, reason = next(iter(failed.items()))
        raise StudyError(f"{trial} could not be trained again: {reason}; once the cause is removed, repeat the command")


def refit_metrics(directory: StudyDirectory, trial: str) -> Mapping[str, float]:
    """What test images say of a trial's refit. StudyError where there is none."""
    scores = refitted(directory, trial).trial(trial) / SCORES
    return measure(read_scores(scores), "test", worst_of=directory.read_study_file().attacks)


def refitted(directory: StudyDirectory, trial: str) -> StudyDirectory:
    """The folder of the refits, which holds this trial's. StudyError, with the command that makes it, where not."""
    place = StudyDirectory(directory.path / REFIT)
    if not (place.trial(trial) / SCORES).exists():
        raise StudyError(
            f"trial {trial} has not been trained on training and validation images together; do it with: "
            f"{directory.command('refit', '--pick', trial)}"
        )
    return place


def _refit(address: str, values: dict[str, object]) -> None:
    from study.storage.images import images_of
    from trainables.trial import Trial, run_trial

    config = trial_config_from_dict(values)
    place = open_directory(address)
    place.fetch_for(config.trial)
    folder = place.trial(config.trial)
    run_trial(Trial(config, *images_of(place), folder, start=place.trial(BASELINE), device=device_here()))
    place.send_from(config.trial)
