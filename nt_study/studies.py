"""Studies: launch one, open one, and what it has found as tables, plots and models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console

from analysis.figures.pareto import front_panels, pareto_panel
from analysis.figures.printed import draw
from analysis.figures.screen import to_plotly
from analysis.front import Front, Split
from nt_study.models import Model
from search_spaces.schema import load_study_file
from study.errors import StudyError
from study.export.writing import export as export_models
from study.export.writing import pick_points
from study.looking.frames import audit_frame, front_frame, trials_frame
from study.looking.front_files import front_of
from study.repeating.suite_tasks import audit_study, read_trial_config
from study.running.run import prepare, run
from study.storage.directory import StudyDirectory, find, find_all
from study.storage.mirror import studies_folder
from study.storage.summaries import count_states, summarise
from study.suggest import DEFAULT_STUDIES
from trainables.record import SCORES, read_scores
from trainables.suite import load_trial_model

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes


def launch(
    baseline: str,
    *,
    name: str | None = None,
    preset: str | None = None,
    studies: str | Path = DEFAULT_STUDIES,
    mlflow: str | None = None,
    progress: bool = True,
    **changes: Any,
) -> Study:
    """Run a study to its end and return it, as `nt-study launch`.

    baseline: "hyperiqa", "dbcnn", "linearityiqa", "maniqa", or the path of a study file. preset: "demo" (the default),
    "smoke", "laptop", "gpu", "objectives" or "paper". studies: a folder or a bucket's address. mlflow: the address of a
    server or store; by default a file in `studies`. changes: keys of the study file over the preset's, as in
    `data="csv:ratings.xlsx", trials=12`. With Ctrl-C (in a notebook: interrupt) it stops between epochs; `Study.resume`
    goes on.

    Raises StudyError, ValueError: what is wrong and what to do, before anything is written.
    """
    place = studies_folder(str(studies))
    study_file = load_study_file(baseline, preset=preset, overrides=changes)
    study = Study(prepare(place, name or study_file.baseline, study_file, Console(quiet=not progress)))
    study.resume(mlflow=mlflow, progress=progress)
    return study


def open_study(name: str, studies: str | Path = DEFAULT_STUDIES) -> Study:
    """The study of that name, running or finished. StudyError, with the nearest name, where there is none."""
    return Study(find(studies_folder(str(studies)), name))


def list_studies(studies: str | Path = DEFAULT_STUDIES) -> pd.DataFrame:
    """A row for every study: `study`, `baseline`, `data`, and how many trials are in each state."""
    rows = []
    for directory in find_all(studies_folder(str(studies))):
        study_file = directory.read_study_file()
        states = count_states(directory, summarise(directory))
        rows.append({"study": directory.name, "baseline": study_file.baseline, "data": study_file.data, **states})
    return pd.DataFrame(rows, columns=None if rows else ["study", "baseline", "data"])


class Study:
    """One study. Everything is read from its folder when it is asked for, so a running study shows what it has.

    Make it with `open_study` or `launch`.
    """

    def __init__(self, directory: StudyDirectory) -> None:
        self._directory = directory

    def __repr__(self) -> str:
        return f"Study({self.name!r}, {self.place!r})"

    @property
    def name(self) -> str:
        return self._directory.name

    @property
    def place(self) -> str:
        """Its folder, or its address in a bucket."""
        return self._directory.place

    def resume(self, trials: int | None = None, *, mlflow: str | None = None, progress: bool = True) -> bool:
        """Run what is left of it, as `nt-study resume`. Returns whether it is finished; False when interrupted.

        trials: how many NT trials it then has in all; it can only grow. StudyError where it cannot go on.
        """
        if trials is not None:
            self._directory.ask_for_trials(trials)
        return run(self._directory, Console(quiet=not progress), mlflow)

    def trials(self) -> pd.DataFrame:
        """A row for every trial and mixture, in the study's order.

        `trial`, `kind` ("trial" or "mixture"), `state` ("complete", "pruned", "failed", "running" or "waiting"), `lam`
        (λ, with the released factor ½), `step_size` (h, in ImageNet-normalised units), `epochs`, `planned_epochs`,
        `train_seconds`, `reason` of a trial that is not complete, and every metric as `validation_<name>` and
        `test_<name>`: correlations in [-1, 1], errors in MOS points of 0..100. NaN where there is none.
        """
        return trials_frame(summarise(self._directory))

    def front(self) -> pd.DataFrame:
        """The Pareto front, from the most accurate to the most robust, then the λ=0 baseline: chosen on validation.

        Columns as in `trials`, with `role` ("knee", "most accurate", "λ = 0", …) instead of the state, and a mixture's
        `parents` and `weight`. ValueError while no trial is complete.
        """
        return front_frame(self._front())

    def scores(self, trial: str = "knee") -> pd.DataFrame:
        """A trial's score table: one row per image and attack.

        trial: its name, or "knee", "most-accurate", "most-robust". Columns: `image`, `content`, `split` ("validation"
        or "test"), `mos`, `attack`, `clean_score`, `attacked_score`, `attacked_score_8bit` (all 0..100, higher is
        better), `max_delta` (largest change of a pixel, in [0, 1]), `ssim`, `seconds`, `gradient_l1`.
        """
        name = self._pick(trial)
        self._directory.fetch_trial(name)
        return read_scores(self._directory.trial(name) / SCORES)

    def plot(self, split: Split = "validation") -> go.Figure:
        """The front as an interactive plotly figure. split: "validation", where it was chosen, or "test"."""
        return to_plotly(front_panels([self._front()], split), height=520)

    def draw(self, axes: Axes, split: Split = "validation") -> Axes:
        """Draw the front into matplotlib axes, which are returned."""
        draw(axes, pareto_panel(self._front(), split))
        return axes

    def model(self, trial: str = "knee") -> Model:
        """A trained model, or a mixture, in evaluation mode.

        trial: as for `scores`. StudyError where it has left no weights.
        """
        name = self._pick(trial)
        if not self._directory.weights(name).exists():
            raise StudyError(
                f"trial {name} of study {self.name!r} has no weights here; its record may have been copied"
            )
        folder = self._directory.trial(name)
        return Model(load_trial_model(read_trial_config(folder), folder))

    def export(self, out: str | Path, trial: str = "knee") -> Path:
        """Write a model with its config, metrics, scores and card to the folder `out`, as `nt-study export`."""
        (folder,) = export_models(self._directory, self._pick(trial), Path(out))
        return folder

    def audit(self) -> pd.DataFrame:
        """A row for every reason to doubt a trial's robustness (`trial`, `attack`, `ratio`, `limit`, `message`).

        No row of a trial that gives none, nor of one that was not attacked with the full suite (`nt-study suite`).
        """
        return audit_frame(audit_study(self._directory, summarise(self._directory)))

    def _front(self) -> Front:
        return front_of(self._directory)

    def _pick(self, trial: str) -> str:
        if trial == "front":
            raise StudyError("name one model: 'knee', 'most-accurate', 'most-robust' or a trial")
        (point,) = pick_points(self._front(), trial)
        return point.trial
