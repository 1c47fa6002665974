"""Study files: what a good one becomes, and the one sentence that each mistake gets."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from search_spaces.defence_space import PARAMETERS, defences, searched_by
from search_spaces.schema import FOLDER, StudyFileError, baselines, load_study_file, read_frozen
from search_spaces.yaml_file import read_yaml
from trainables.config import BASELINE, trial_config_from_dict


def write(folder: Path, **values: Any) -> str:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"baseline": "hyperiqa", **values}), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("baseline", baselines())
def test_every_preset_of_every_baseline_is_valid(baseline: str) -> None:
    room = yaml.safe_load((FOLDER / f"{baseline}.yaml").read_text(encoding="utf-8"))
    for preset in room["presets"]:
        study = load_study_file(baseline, preset=preset)
        assert study.baseline == baseline
        assert study.first_points, "some points are evaluated before the sampler chooses"


def test_a_frozen_study_file_reads_back_equal(tmp_path: Path) -> None:
    study = load_study_file("hyperiqa", overrides={"trials": 7, "seed": 3})
    (tmp_path / "study.yaml").write_text(study.to_yaml(), encoding="utf-8")
    assert read_frozen(tmp_path / "study.yaml", "test") == study


def test_a_study_file_lies_over_its_preset(tmp_path: Path) -> None:
    study = load_study_file(write(tmp_path, preset="smoke", seed=5, space={"lam": {"high": 2e-3}}))
    smoke = load_study_file("hyperiqa", preset="smoke")
    assert (study.seed, study.data, study.trials) == (5, smoke.data, smoke.trials)
    assert study.space["lam"].high == 2e-3
    assert study.space["lam"].low == smoke.space["lam"].low


def test_keys_of_a_recipe_change_the_one_that_is_named(tmp_path: Path) -> None:
    """As --weights does, whatever recipe the preset or the file has."""
    weights = {"recipe": {"weights": "/some/file.pth"}}
    for preset, name in (("smoke", None), ("paper", "corrected"), ("paper", "as_released")):
        own = {} if name is None else {"recipe": name}
        plain = load_study_file(write(tmp_path, preset=preset, **own))
        changed = load_study_file(write(tmp_path, preset=preset, **own), overrides=weights)
        assert changed.recipe.weights == "/some/file.pth" and plain.recipe.stages == changed.recipe.stages
    based = load_study_file(write(tmp_path, preset="paper", recipe={"based_on": "corrected", "select": "last"}))
    assert based.recipe.select == "last"
    assert based.recipe.stages == load_study_file(write(tmp_path, preset="paper", recipe="corrected")).recipe.stages
    with pytest.raises(StudyFileError, match="unknown recipe 'correct'; did you mean 'corrected'"):
        load_study_file(write(tmp_path, preset="paper", recipe={"based_on": "correct"}))


def test_trials_repeat_the_last_stage_with_their_point_and_the_baseline_runs_all() -> None:
    study = load_study_file("hyperiqa")
    baseline = study.trial_config(BASELINE, {})
    trial = study.trial_config("t000", {"lam": 1e-4, "step_size": 0.02})
    assert baseline.lam == 0 and baseline.epochs == sum(stage.epochs for stage in study.recipe.stages)
    assert (trial.lam, trial.step_size) == (1e-4, 0.02)
    assert trial.stages == study.recipe.stages[-1:]
    assert trial_config_from_dict(trial.to_dict()) == trial


def test_searched_training_parameters_change_the_last_stage(tmp_path: Path) -> None:
    space = {"lr": {"low": 1e-4, "high": 1e-3, "log": True}}
    study = load_study_file(write(tmp_path, space=space, first_points=[]))
    trial = study.trial_config("t000", {"lam": 1e-4, "step_size": 0.02, "lr": 2e-4})
    assert trial.stages[-1].lr == 2e-4
    assert trial.recipe.stages[0] == study.recipe.stages[0]


@pytest.mark.parametrize("preset", ["smoke", "laptop", "paper"])
@pytest.mark.parametrize("baseline", baselines())
def test_every_suite_has_the_shared_attacks_where_the_baseline_wants_them(baseline: str, preset: str) -> None:
    shared = read_yaml(FOLDER / "suites" / "further.yaml")
    labels = list(load_study_file(baseline, preset=preset).suite)
    first = labels.index(next(iter(shared)))
    assert labels[first : first + len(shared)] == list(shared)
    assert {"uap", "kor"} <= set(labels) - set(shared)


@pytest.mark.parametrize("baseline", baselines())
def test_every_defence_is_a_study_of_every_baseline(baseline: str) -> None:
    for defence in defences():
        study = load_study_file(baseline, overrides={"recipe": {"defence": defence}})
        point = {name: axis.low for name, axis in study.space.items()}
        trial = study.trial_config("t000", point)
        assert set(study.space) & {*PARAMETERS} == {*searched_by(defence)}
        assert trial.recipe.defence == defence and trial.lam == point.get("lam", 0)
        assert trial.recipe.defence_params == ({"eps": point["eps"]} if "eps" in point else {})
        assert trial_config_from_dict(trial.to_dict()) == trial


def test_a_defences_weight_may_be_told_by_nts(tmp_path: Path) -> None:
    nt = load_study_file("dbcnn").space["lam"]
    trades = load_study_file("dbcnn", overrides={"recipe": {"defence": "trades"}}).space["lam"]
    assert (trades.low, trades.high) == pytest.approx((1000 * nt.low, 1000 * nt.high))
    own = write(
        tmp_path, recipe={"defence": "trades"}, space={"lam": {"low": 0.5}}, first_points=[{"lam": 1, "eps": 0.01}]
    )
    assert load_study_file(own).space["lam"].low == 0.5
    assert load_study_file(own).first_points == ({"lam": 1, "eps": 0.01},)


def test_a_budget_may_be_fixed_in_place_of_searched(tmp_path: Path) -> None:
    own = write(tmp_path, recipe={"defence": "trades", "defence_params": {"eps": "4/255"}}, space={"eps": None})
    trial = load_study_file(own).trial_config("t000", {"lam": 0.1})
    assert trial.recipe.defence_params == {"eps": 4 / 255}


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"trails": 3}, r"trails: unknown key \(did you mean 'trials'\?\)"),
        ({"space": {"lam": {"low": 1e-3, "high": 1e-6}}}, "space.lam: low must be below high"),
        ({"space": {"lam": {"low": 0, "high": 1e-3}}}, "space.lam: a log range needs low above 0"),
        ({"recipe": {"defence": "trade"}}, "unknown defence 'trade'; did you mean 'trades'"),
        (
            {"recipe": {"defence": "trades", "defence_params": {"step": 2}}},
            "has no parameter 'step'; it takes eps, steps",
        ),
        ({"recipe": {"defence": "trades", "defence_params": {"steps": 1.5}}}, "steps: expected a whole number"),
        (
            {"recipe": {"defence": "trades", "defence_params": {"eps": 0.01}}},
            "eps is fixed in the recipe's defence_params",
        ),
        ({"recipe": {"defence": "exact_norm"}, "space": {"step_size": {"low": 1, "high": 2}}}, "has no 'step_size' to"),
        ({"recipe": {"defence": "none"}, "sampler": "path"}, "path goes along lam, which 'none' does not have"),
        ({"space": {"step_size": None}}, "the space must say the range of 'step_size'"),
        ({"space": {"lambda": {"low": 1, "high": 2}}}, "unknown parameter 'lambda'"),
        ({"space": {"lam": {"lo": 1}}}, r"space.lam.lo: unknown key \(did you mean 'low'\?\)"),
        ({"objectives": ["srocc", "rmse_atacked"]}, "rmse_attacked"),
        ({"objectives": ["srocc"]}, "two or three different objectives"),
        ({"objectives": ["srocc", "rmse_attacked/uap"]}, "attacks has no 'uap'.*add it to attacks"),
        ({"objectives": ["srocc", "rmse_attacked_worst"], "scheduler": {"name": "pareto_asha"}}, "name another"),
        ({"space": {"batch_size": {"low": 4, "high": 64}}}, "a whole number of images; add 'integer: true'"),
        ({"trials": "many"}, "trials: .*got 'many'"),
        ({"trials": 0}, "trials: "),
        ({"sampler": "tpee"}, "sampler: unknown sampler 'tpee'; did you mean 'tpe'"),
        ({"scheduler": {"name": "asha"}}, "unknown name 'asha'; did you mean 'pareto_asha'"),
        (
            {"recipe": {"stages": [{"name": "all", "epochs": 1, "lr": 1e-4, "batch_size": 8, "optimizer": "adamx"}]}},
            "unknown optimizer 'adamx'; did you mean 'adam",
        ),
        ({"size": "smal"}, "unknown size 'smal'; did you mean 'small'"),
        ({"recipe": "relesed"}, "unknown recipe 'relesed'"),
        ({"recipe": {"los": "l1"}}, r"los: unknown key \(did you mean 'loss'\?\)"),
        ({"attacks": {"mine": {"eps": 0.1}}}, "say which attack this is"),
        ({"first_points": [{"lam": 1, "step_size": 0.01}]}, "lies outside its range"),
        ({"split": {"fractions": [0.5, 0.5, 0.5]}}, "sum to 1"),
        ({"baseline": "hyperqia"}, "did you mean 'hyperiqa'"),
        ({"preset": "dmo"}, "did you mean 'demo'"),
    ],
)
def test_a_mistake_is_one_clear_sentence(tmp_path: Path, mistake: dict[str, Any], sentence: str) -> None:
    with pytest.raises(StudyFileError, match=sentence) as error:
        load_study_file(write(tmp_path, **mistake))
    assert "\n" not in str(error.value)


def test_files_that_are_no_study_files(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match="there is no study file"):
        load_study_file(str(tmp_path / "missing.yaml"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("baseline: [hyperiqa", encoding="utf-8")
    with pytest.raises(StudyFileError, match="not valid YAML"):
        load_study_file(str(broken))
    broken.write_text("- hyperiqa", encoding="utf-8")
    with pytest.raises(StudyFileError, match="keys and values"):
        load_study_file(str(broken))


def test_a_file_that_leaves_nothing_out_is_taken_as_it_is(tmp_path: Path) -> None:
    study = load_study_file("hyperiqa").model_copy(update={"suite": {"ifgsm3": {"name": "ifgsm", "steps": 3}}})
    path = tmp_path / "study.yaml"
    path.write_text(study.to_yaml(), encoding="utf-8")
    assert load_study_file(str(path)) == study, "the baseline's own suite does not come back"
    assert load_study_file(str(path), overrides={"trials": 3}).trials == 3


def test_the_paper_s_presets_are_as_printed_or_as_released() -> None:
    printed = {"dbcnn": [(6, 50), (6, 50)], "linearityiqa": [(4, 30)], "maniqa": [(1, 30)], "hyperiqa": [(16, 16)]}
    released = {"dbcnn": [(8, 50), (8, 50)], "linearityiqa": [(8, 30)], "maniqa": [(8, 300)], "hyperiqa": [(16, 16)]}
    for preset, expected in (("paper", printed), ("as_released", released)):
        for baseline, stages in expected.items():
            recipe = load_study_file(baseline, preset=preset).recipe
            assert [(stage.batch_size, stage.epochs) for stage in recipe.stages] == stages, (preset, baseline)
    assert load_study_file("dbcnn", preset="paper").recipe.training_crop is None, "the whole 500x500 image"
    assert load_study_file("dbcnn", preset="as_released").recipe.training_crop == 448
