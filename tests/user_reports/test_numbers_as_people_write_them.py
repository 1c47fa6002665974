"""`--attacks ifgsm:eps=8/255` and `eps: 5e-3`, which YAML takes for text, ended in a TypeError with a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

import pytest
import yaml

from search_spaces.parameters import parse_attacks, typed_attack
from search_spaces.schema import StudyFile, StudyFileError, load_study_file
from study.commands.launch import _range
from trainables.attacks import ATTACKS
from trainables.config import Recipe, Stage
from trainables.losses import LOSSES
from trainables.written import number, whole_number

STUDY = """
baseline: linearityiqa
default_step_size: 1/100
first_points: []
split: {fractions: [3/5, 2e-1, 0.2]}
space:
  lam: {low: 1e-6, high: 1e-3}
resources_per_trial: {cpu: 1/2, custom: {disk: 1e1}}
attacks:
  fgsm: {name: fgsm, eps: 5e-3, alpha: 1/100}
suite:
  strong: {name: ifgsm, eps: 8/255, steps: "10"}
  kept: {name: perceptual, weight: 1e6, steps: 2e1, best_iterate: "true"}
recipe:
  loss: norm_in_norm
  loss_params: {q: 2e0, beta: [1e-1, 1/10, 1]}
  stages:
    - {name: pretrain, epochs: 1e1, lr: 1e-3}
    - {name: finetune, epochs: 2, lr: 1/2000, warmup: 1e-1}
"""


def test_numbers_are_numbers_everywhere_in_a_study_file(tmp_path: Path) -> None:
    (tmp_path / "my study.yaml").write_text(STUDY, encoding="utf-8")
    study = load_study_file(str(tmp_path / "my study.yaml"))
    assert study.default_step_size == 0.01 and study.split.fractions == (0.6, 0.2, 0.2)
    assert (study.space["lam"].low, study.space["lam"].high) == (1e-6, 1e-3)
    assert study.resources_per_trial is not None and study.resources_per_trial.custom == {"disk": 10.0}
    assert study.attacks["fgsm"] == {"name": "fgsm", "eps": 0.005, "alpha": 0.01}
    assert study.suite["strong"] == {"name": "ifgsm", "eps": 8 / 255, "steps": 10}
    assert study.suite["kept"] == {"name": "perceptual", "weight": 1e6, "steps": 20, "best_iterate": True}
    assert study.recipe.loss_params == {"q": 2.0, "beta": [0.1, 0.1, 1.0]}
    assert [(stage.epochs, stage.lr, stage.warmup) for stage in study.recipe.stages] == [(10, 1e-3, 0), (2, 5e-4, 0.1)]
    assert StudyFile.model_validate(yaml.safe_load(study.to_yaml())) == study


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"attacks": {"fgsm": {"eps": "strong"}}}, "attack 'fgsm': eps: expected a number such as .* got 'strong'"),
        ({"attacks": {"fgsm": {"eps": True}}}, "eps: expected a number such as .* got True"),
        ({"attacks": {"fgsm": {"eps": [0.1]}}}, r"eps: expected a number such as .* got \[0.1\]"),
        ({"suite": {"ifgsm10": {"steps": 2.5}}}, "attack 'ifgsm10': steps: expected a whole number, got 2.5"),
        ({"suite": {"ifgsm10": {"loss": 5}}}, "attack 'ifgsm10': loss: .*string, got 5"),
        ({"suite": {"apgd": {"eps": "nan"}}}, "attack 'apgd': eps: expected a number"),
        ({"suite": {"kor": {"surrogate": 5}}}, "attack 'kor': surrogate: "),
        ({"suite": {"kor": {"lr": ".inf"}}}, "attack 'kor': lr: expected a number"),
        ({"suite": {"kor": {"rate": 1}}}, "no parameter 'rate'"),
        ({"recipe": {"loss": "norm_in_nrom"}}, "unknown loss 'norm_in_nrom'; did you mean 'norm_in_norm'"),
        ({"recipe": {"loss": "mse", "loss_params": {"p": 1}}}, "loss 'mse' has no parameter 'p'"),
        (
            {"recipe": {"loss": "norm_in_norm", "loss_params": {"p": "one"}}},
            "p: expected a number",
        ),
        ({"space": {"lam": {"low": "1/0"}}}, r"space\.lam\.low: expected a number such as .* got '1/0'"),
        ({"space": {"lam": {"high": float("inf")}}}, r"space\.lam\.high: expected a number"),
        ({"default_step_size": float("nan")}, "default_step_size: expected a number"),
        ({"trials": "many"}, "trials: expected a number"),
        ({"seed": 1.5}, r"seed: expected a whole number, got 1\.5"),
    ],
)
def test_anything_else_is_one_sentence(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyFileError, match=message) as refused:
        load_study_file("hyperiqa", overrides=overrides)
    assert "\n" not in str(refused.value)


def test_they_are_numbers_on_the_command_line() -> None:
    chosen = parse_attacks("ifgsm:eps=8/255:steps=3,noise,apgd:restarts=2", "5e-3", 7)
    assert chosen == {
        "ifgsm": {"name": "ifgsm", "eps": 8 / 255, "steps": 3},
        "noise": {"name": "noise", "eps": 0.005, "seed": 7},
        "apgd": {"name": "apgd", "restarts": 2, "eps": 0.005, "seed": 7},
    }
    assert list(parse_attacks("perceptual:best_iterate=true,perceptual:best_iterate=false", None, 0)) == [
        "perceptual_best",
        "perceptual",
    ]
    assert _range("lam", "1/1000:1e-2") == {"low": 0.001, "high": 0.01}


@pytest.mark.parametrize("arguments", [("--attacks", "ifgsm:eps=big"), ("--eps", "nan"), ("--attacks", "kor:lr=1/0")])
def test_what_is_none_on_the_command_line_is_one_sentence(
    arguments: tuple[str, ...], knee: Path, nt: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, error = nt("attack", knee, *arguments)
    assert code == 2 and error.count("\n") == 1 and "expected a number such as" in error


ATTACK_TYPES = dict.fromkeys(kind for kind, _ in ATTACKS.values())


@pytest.mark.parametrize("owner", [Stage, Recipe, *ATTACK_TYPES, *LOSSES.values()])
def test_every_number_of_an_attack_a_loss_and_a_recipe_is_declared_as_one(owner: Any) -> None:
    """`Real` and `Whole` read text; a bare float or int would not."""
    for name, hint in get_type_hints(owner, include_extras=True).items():
        parts = [hint, *getattr(hint, "__args__", ())] if get_origin(hint) is not Annotated else []
        assert float not in parts and int not in parts, name


@pytest.mark.parametrize("text", ["", "eps", "1/", "/2", "1/2/3", "0x10", "inf", "-inf", "nan", "1e999", "1,5"])
def test_what_is_no_number(text: str) -> None:
    for read in (number, whole_number):
        with pytest.raises(ValueError, match="expected a number such as"):
            read(text)


def test_what_is_one() -> None:
    assert [number(text) for text in ("8/255", " 5e-3 ", "-1", "1e-3", 3)] == [8 / 255, 0.005, -1.0, 0.001, 3.0]
    assert [whole_number(text) for text in ("10", 10.0, "1e3", "20/2", 2**60 + 1)] == [10, 10, 1000, 10, 2**60 + 1]
    assert typed_attack("own", {"name": "ifgsm", "alpha": 1}) == {"name": "ifgsm", "alpha": 1.0}
