"""Early stopping on Ray Tune: hears every epoch's objectives and ends the trials that `ParetoHalving` gives up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search_spaces.schema import StudyFile
from study.running.unpickled import Unpickled
from study.search.halving import ParetoHalving
from study.storage.directory import StudyDirectory
from study.storage.summaries import read_epochs
from trainables.config import BASELINE, in_order
from trainables.objectives import objective


class FirstCome(Unpickled, FIFOScheduler):
    """Trials run in the order in which they were suggested, each to its end.

    `said` is given the last line of each failed trial's error, which Tune tells schedulers and not searchers.
    """

    def __init__(self, said: dict[str, str]) -> None:
        super().__init__()
        self.said = said

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        *_, latest = Path(trial.error_file).read_text(encoding="utf-8").split("Failure #")
        lines = latest.strip().splitlines()
        if "ray::ResourceTrainable" in "".join(lines[1:2]):  # not Ray's words on a process that is gone
            self.said[trial.trial_id] = lines[-1]


class ParetoASHA(FirstCome):
    """Asynchronous successive halving by Pareto rank. The λ=0 baseline is never stopped, nor compared.

    Its memory is the epochs that the trials' folders hold, so a resumed study goes on where it was, and a trial that
    was interrupted keeps its rungs.
    """

    def __init__(self, directory: StudyDirectory, study_file: StudyFile, said: dict[str, str]) -> None:
        super().__init__(said)
        self.directory = directory
        self.objectives = study_file.objectives
        self.halving = halving_of(study_file)
        for folder in sorted(directory.trials.glob("t*"), key=lambda folder: in_order(folder.name)):
            for row in read_epochs(folder):
                self._record(folder.name, row)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        name = trial.config["trial"]
        if name == BASELINE or result["done"]:
            return str(TrialScheduler.CONTINUE)
        self._record(name, result)
        epoch = int(result["epoch"])
        if self.halving.goes_on(name, epoch):
            return str(TrialScheduler.CONTINUE)
        # Written here, where it is decided: a trial that Tune ends for another reason is not pruned.
        self.directory.write_result(name, "pruned", self.halving.standing(name, epoch))
        return str(TrialScheduler.STOP)

    def _record(self, trial: str, row: dict[str, Any]) -> None:
        self.halving.record(trial, int(row["epoch"]), [float(row[name]) for name in self.objectives])


def halving_of(study_file: StudyFile) -> ParetoHalving:
    """The halving that a study file asks for, over the epochs of its NT trials."""
    scheduler = study_file.scheduler
    epochs = sum(stage.epochs for stage in study_file.recipe.stages_of(is_baseline=False))
    return ParetoHalving(
        epochs,
        [objective(name).direction for name in study_file.objectives],
        grace_period=scheduler.grace_period,
        reduction_factor=scheduler.reduction_factor,
    )
