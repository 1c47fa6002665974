"""What parts of a study cost, each in another part that can be timed."""

from __future__ import annotations

from typing import Any

from search_spaces.schema import StudyFile

NT_COST = 2.5
"""An NT epoch in epochs of the baseline: 5 passes for 2. It was 1.6 to 4.4 where two trials shared two CPU cores."""
SCORED_COST = 2.5
"""Scoring attacked images, as floats and in 8 bit, and comparing them with the clean ones: in an attack's gradients."""
QUERIES_PER_PASS = 3
"""Scores that cost as much as a score and its gradient."""
MADE_ELSEWHERE = ("transfer", "uap", "kor")
"""Attacks of the suite whose images are made once for all trials, on other models; that is not forecast."""


def epoch_cost(study_file: StudyFile) -> float:
    """An epoch of a trial in epochs of the baseline: as many passes (`Defence.passes`) take as much longer."""
    return 1 + (_step_cost(study_file) - 1) / study_file.recipe.defence_every


def _step_cost(study_file: StudyFile) -> float:
    """A step with the defence's term in steps without."""
    if study_file.recipe.defence == "nt":
        return NT_COST  # most studies' answer, without PyTorch
    from trainables.defences import defence_of
    from trainables.defences.base import NoDefence

    config = study_file.trial_config("t000", {name: axis.low for name, axis in study_file.space.items()})
    return defence_of(config).passes / NoDefence.passes


def suite_cost(study_file: StudyFile) -> float:
    """The full suite on one model in records: attacking and scoring it as every trial is. 0: none is asked for."""
    if study_file.full_suite == "none":
        return 0.0
    record = 1 + SCORED_COST * len(study_file.attacks)
    return sum(SCORED_COST + passes_of(attack) for attack in study_file.suite.values()) / record


def models_attacked(study_file: StudyFile, on_front: float = 1.0) -> int:
    """How many models the full suite is asked to run on. on_front: the share of models that are on the front."""
    models = study_file.trials + 1 + study_file.mixtures
    share = on_front if study_file.full_suite == "front" else 1.0
    return {"none": 0, "reported": 3}.get(study_file.full_suite, round(share * models))


def passes_of(attack: dict[str, Any]) -> int:
    """Gradients that an attack takes of an image, roughly."""
    from trainables.attacks import ATTACKS, parameters_of

    name = attack["name"]
    if name in MADE_ELSEWHERE:
        return 1
    given = {key: parameter.default for key, parameter in parameters_of(name).items()} | dict(ATTACKS[name][1]) | attack
    steps, restarts = (given.get(key, 1) for key in ("steps", "restarts"))
    sides = 2 if given.get("direction") == "two_sided" or "levels" in given else 1
    sides *= 2 if name == "mad" else 1  # a gradient of what is held with each one of the score
    return sides * (int(steps) * int(restarts) + int(given.get("queries", 0)) // QUERIES_PER_PASS)
