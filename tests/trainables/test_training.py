"""The trial: schedules, stages, exact resumption, calibration, what a record holds."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from search_spaces.schema import load_study_file
from trainables.config import BASELINE, Recipe, Stage, TrialConfig, trial_config_from_dict
from trainables.data.image_set import ImageSet
from trainables.evaluate import clean_scores
from trainables.models import create_model
from trainables.record import SCORES, START_WEIGHTS, WEIGHTS, read_scores
from trainables.train import Training, learning_rate_factor, mos_per_native, stage_at
from trainables.trial import Trial, chosen_epochs, run_trial

FGSM = {"fgsm": {"name": "fgsm", "eps": 0.005, "alpha": 0.01}}
PRETRAIN = Stage(name="pretrain", epochs=2, lr=1e-3, schedule="cosine", warmup=0.1)
FINETUNE = Stage(name="finetune", epochs=2, lr=5e-4)
RECIPE = Recipe(init="baseline", stages=(PRETRAIN, FINETUNE))


@pytest.fixture(scope="module")
def rows(few: Callable[[dict[str, int]], pd.DataFrame]) -> pd.DataFrame:
    return few(SHARES)


SHARES = {"train": 20, "validation": 8, "test": 8}


def config(trial: str, lam: float, recipe: Recipe = RECIPE) -> TrialConfig:
    return TrialConfig(
        trial=trial, model="hyperiqa", size="small", recipe=recipe, lam=lam, step_size=0.01, seed=3, attacks=FGSM
    )


@pytest.fixture(scope="module")
def baseline(photos: ImageSet, rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / BASELINE
    run_trial(Trial(config(BASELINE, 0), photos.store, rows, folder))
    return folder


def test_a_trial_killed_after_any_epoch_ends_as_if_it_had_not_been(
    photos: ImageSet, rows: pd.DataFrame, baseline: Path, tmp_path: Path
) -> None:
    def make(folder: str) -> Trial:
        return Trial(config("t000", 1e-4), photos.store, rows, tmp_path / folder, start=baseline)

    straight = run_trial(make("straight"))
    make("cut").run_epoch()
    resumed = make("cut")
    assert resumed.training.epoch == 1
    again = run_trial(resumed)
    for column in ("clean_score", "attacked_score", "gradient_l1"):
        np.testing.assert_array_equal(again[column], straight[column])
    epochs = [json.loads(line)["epoch"] for line in (tmp_path / "cut" / "epochs.jsonl").read_text().splitlines()]
    assert epochs == [1, 2]


def test_what_follows_from_a_checkpoint_is_made_again_after_a_kill(
    photos: ImageSet, rows: pd.DataFrame, baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> Trial:
        return Trial(config("t000", 1e-4), photos.store, rows, tmp_path, start=baseline)

    trial = make()

    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(trial, "_save_epoch", killed)
        with pytest.raises(SystemExit):
            trial.run_epoch()
    assert (tmp_path / "checkpoint.pt").exists() and not (tmp_path / WEIGHTS).exists()
    resumed = make()
    weights = safetensors.torch.load_file(tmp_path / WEIGHTS)
    for name, value in resumed.training.model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=0)
    assert len((tmp_path / "epochs.jsonl").read_text().splitlines()) == 1


def test_an_epoch_without_a_correlation_is_never_the_best(
    photos: ImageSet, rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sroccs = iter([math.nan, 0.2, math.nan, 0.3, 0.1])
    monkeypatch.setattr("trainables.trial.probe", lambda *_, **__: {"srocc": next(sroccs)})
    recipe = Recipe(select="best", stages=(dataclasses.replace(FINETUNE, epochs=5),))
    trial = Trial(config(BASELINE, 0, recipe), photos.store, rows, tmp_path)
    kept = []
    while not trial.finished:
        before = (tmp_path / WEIGHTS).stat().st_mtime_ns if (tmp_path / WEIGHTS).exists() else 0
        trial.run_epoch()
        kept.append((tmp_path / WEIGHTS).stat().st_mtime_ns != before)
    assert kept == [True, True, False, True, False]


def test_trials_start_from_the_baseline_before_its_last_stage(
    photos: ImageSet, rows: pd.DataFrame, baseline: Path, tmp_path: Path
) -> None:
    """So that the earlier stages are paid for once, and all spend the same last stage."""
    trial = Trial(config("t000", 1e-4), photos.store, rows, tmp_path, start=baseline)
    assert (baseline / START_WEIGHTS).exists()
    assert trial.config.epochs == FINETUNE.epochs
    start = create_model("hyperiqa", size="small")

    start.load_state_dict(safetensors.torch.load_file(baseline / START_WEIGHTS))
    for name, value in trial.training.model.state_dict().items():
        torch.testing.assert_close(value, start.state_dict()[name], rtol=0, atol=0)


def test_the_record_covers_validation_and_test_and_nothing_else(rows: pd.DataFrame, baseline: Path) -> None:
    scores = read_scores(baseline / SCORES)
    expected = set(rows.loc[rows["split"] != "train", "image"])
    assert set(scores["image"]) == expected and len(scores) == len(expected)
    assert set(scores["attack"]) == {"fgsm"}
    assert (scores["max_delta"] <= 0.005 + 1e-6).all()
    assert not (baseline / "checkpoint.pt").exists(), "a finished trial keeps its weights, not its optimiser"


def test_a_penalised_model_moves_less(photos: ImageSet, rows: pd.DataFrame, baseline: Path, tmp_path: Path) -> None:
    """Trained long enough for the penalty to tell: the two gradients' norms are then a factor of about 25 apart."""
    recipe = Recipe(init="baseline", stages=(PRETRAIN, dataclasses.replace(FINETUNE, epochs=5, lr=2e-3)))
    plain, penalised = (
        run_trial(Trial(config(f"t{lam}", lam, recipe), photos.store, rows, tmp_path / f"{lam}", start=baseline))
        for lam in (0.0, 1e-2)
    )
    for column in (plain["gradient_l1"], penalised["gradient_l1"]):
        assert (column > 0).all()
    assert penalised["gradient_l1"].mean() < plain["gradient_l1"].mean() / 3


def test_learning_rates_depend_on_the_position_alone() -> None:
    def factors(stage: Stage, *, head: bool = False) -> list[float]:
        return [learning_rate_factor(stage, epoch, 0, 10, is_head=head) for epoch in range(stage.epochs)]

    assert factors(Stage(name="a", epochs=3, lr=1, schedule="constant")) == [1, 1, 1]
    assert factors(Stage(name="a", epochs=4, lr=1, schedule="step", step_epochs=2)) == [1, 1, 0.1, 0.1]
    cosine = Stage(name="a", epochs=2, lr=1, schedule="cosine", warmup=0.1)
    assert learning_rate_factor(cosine, 0, 0, 10, is_head=False) == 0.5
    assert learning_rate_factor(cosine, 0, 2, 10, is_head=False) == 1
    assert learning_rate_factor(cosine, 1, 9, 10, is_head=False) < 0.01
    wave = Stage(name="a", epochs=1, lr=1, schedule="cosine_wave", wave_steps=50)
    ups_and_downs = [learning_rate_factor(wave, 0, step, 200, is_head=False) for step in (0, 50, 100, 150)]
    assert ups_and_downs == pytest.approx([1, 0, 1, 0])


def test_hyperiqas_released_and_corrected_head_rates() -> None:
    released = Stage(name="a", epochs=16, lr=2e-5, head_lr_ratio=10, head_epochs=1)
    (corrected,) = load_study_file("hyperiqa", preset="paper", overrides={"recipe": "corrected"}).recipe.stages

    def rates(stage: Stage, *, is_head: bool) -> list[float]:
        return [learning_rate_factor(stage, epoch, 0, 10, is_head=is_head) for epoch in range(16)]

    assert rates(released, is_head=True) == [10] + [0] * 15
    assert rates(released, is_head=False) == [1] * 16, "the released code never lowers it"
    assert rates(corrected, is_head=True) == pytest.approx([10] * 6 + [1] * 4 + [0.1] * 2 + [0.01] * 4)
    assert rates(corrected, is_head=False) == pytest.approx([1] * 6 + [0.1] * 6 + [0.01] * 4)


def test_stages_follow_each_other() -> None:
    assert stage_at((2, 2), 1) == (0, 1)
    assert stage_at((2, 2), 2) == (1, 0)
    with pytest.raises(ValueError, match="fewer epochs"):
        stage_at((2, 2), 4)


def test_a_head_only_stage_leaves_the_backbone_alone(photos: ImageSet, rows: pd.DataFrame) -> None:
    recipe = Recipe(stages=(Stage(name="fc", epochs=1, lr=1e-2, trains="head", optimizer="sgd"),))
    torch.manual_seed(0)
    model = create_model("hyperiqa", size="small")
    before = {name: [p.detach().clone() for p in group] for name, group in model.parameter_groups().items()}
    training = Training(model, config("t000", 1e-4, recipe), photos.store, rows[rows["split"] == "train"], CPU)
    training.run_epoch()
    after = model.parameter_groups()
    assert all(torch.equal(a, b) for a, b in zip(before["backbone"], after["backbone"], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(before["head"], after["head"], strict=True))
    assert all(parameter.requires_grad for parameter in model.parameters())


CPU = torch.device("cpu")


def test_a_stage_may_start_from_the_best_epoch_of_the_one_before(
    photos: ImageSet, rows: pd.DataFrame, tmp_path: Path
) -> None:
    """As DBCNN's second does; here it learns nothing more, so that what it started from is seen."""
    good = Stage(name="fc", epochs=2, lr=1e-3)
    frozen = Stage(name="all", epochs=1, lr=1e-30, optimizer="sgd", weight_decay=0)

    def shipped(name: str, *stages: Stage) -> dict[str, torch.Tensor]:
        run_trial(Trial(config(name, 0, Recipe(stages=stages)), photos.store, rows, tmp_path / name))
        return dict(safetensors.torch.load_file(tmp_path / name / WEIGHTS))

    trial = Trial(
        config("best", 0, Recipe(stages=(good, dataclasses.replace(frozen, starts_from="best")))),
        photos.store,
        rows,
        tmp_path / "best",
    )
    trial.run_epoch()
    trial.epochs[0]["srocc"] = 2.0  # whatever the second reaches, the first was better
    best = safetensors.torch.load_file(tmp_path / "best" / WEIGHTS)
    trial.run_epoch()
    run_trial(trial)
    after = safetensors.torch.load_file(tmp_path / "best" / WEIGHTS)
    weights = [name for name, value in after.items() if "running" not in name and value.is_floating_point()]
    assert all(torch.allclose(after[name], best[name]) for name in weights)
    last = shipped("last", good, frozen)
    assert not all(torch.allclose(last[name], best[name]) for name in weights)


def test_published_weights_are_what_a_trial_starts_from(photos: ImageSet, rows: pd.DataFrame, tmp_path: Path) -> None:
    torch.manual_seed(5)
    published = create_model("hyperiqa", size="small")
    torch.save({"model": published.network.state_dict()}, tmp_path / "published.pth")
    recipe = dataclasses.replace(RECIPE, weights=str(tmp_path / "published.pth"))
    trial = Trial(config(BASELINE, 0, recipe), photos.store, rows, tmp_path / "trial")
    begun = trial.training.model.network.state_dict()
    assert all(torch.equal(value, begun[name]) for name, value in published.network.state_dict().items())


def test_calibration_is_the_least_squares_line(photos: ImageSet, rows: pd.DataFrame) -> None:
    recipe = Recipe(
        stages=(Stage(name="a", epochs=1, lr=1e-3),), loss="norm_in_norm", loss_scale="native", calibrate=True
    )
    torch.manual_seed(0)
    training_rows = rows[rows["split"] == "train"]
    model = create_model("linearityiqa", size="small")
    training = Training(model, config("t000", 0, recipe), photos.store, training_rows, CPU)
    training.run_epoch()
    scores, mos = clean_scores(model, photos.store, training_rows), training_rows["mos"].to_numpy()
    slope, intercept = np.polyfit(scores, mos, 1)
    assert (slope, intercept) == (pytest.approx(1, abs=1e-3), pytest.approx(0, abs=0.05))


def test_a_penalty_on_the_mos_scale_cannot_be_met_by_shrinking_the_output() -> None:
    torch.manual_seed(0)
    model, targets = create_model("linearityiqa", size="small"), torch.rand(8) * 100
    outputs = torch.randn(3, 8)
    unit = [mos_per_native(model, outputs * shrink, targets, calibrated=True) * shrink for shrink in (1.0, 0.01)]
    torch.testing.assert_close(unit[0], unit[1])


def test_a_diverging_trial_says_so(photos: ImageSet, rows: pd.DataFrame) -> None:
    recipe = Recipe(stages=(Stage(name="a", epochs=3, lr=1e18, optimizer="sgd"),))
    torch.manual_seed(0)
    model = create_model("hyperiqa", size="small")
    training = Training(model, config("t007", 0, recipe), photos.store, rows[rows["split"] == "train"], CPU)
    with pytest.raises(RuntimeError, match=r"t007: the training loss became .* lower the learning rate"):
        for _ in range(3):
            training.run_epoch()


def test_configurations_survive_json_and_refuse_nonsense() -> None:
    original = config("t000", 1e-4)
    assert trial_config_from_dict(json.loads(json.dumps(original.to_dict()))) == original
    for changes in ({"lam": -1}, {"lam": math.nan}, {"step_size": 0}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            dataclasses.replace(original, **changes)
    with pytest.raises(ValueError, match="two stages"):
        Recipe(init="baseline", stages=(FINETUNE,))


def test_one_image_at_a_time_trains_what_compares_no_images(photos: ImageSet, rows: pd.DataFrame) -> None:
    alone = Recipe(init="scratch", stages=(Stage(name="alone", epochs=1, lr=1e-4, batch_size=1),))
    few = rows[rows["split"] == "train"].iloc[:3]

    def training(name: str, recipe: Recipe = alone) -> Training:
        of = TrialConfig(
            trial="t000", model=name, size="small", recipe=recipe, lam=1e-4, step_size=0.01, seed=3, attacks=FGSM
        )
        return Training(create_model(name, size="small"), of, photos.store, few, torch.device("cpu"))

    with pytest.raises(ValueError, match=r"stage 'alone': batch_size 1 cannot train this model, because layer"):
        training("hyperiqa")
    with pytest.raises(ValueError, match="the loss norm_in_norm compares its images"):
        training("maniqa", dataclasses.replace(alone, loss="norm_in_norm"))
    assert math.isfinite(float(training("maniqa").run_epoch()["train_loss"]))


def test_a_refit_trains_on_validation_images_and_is_judged_on_test_images_alone(
    photos: ImageSet, rows: pd.DataFrame, tmp_path: Path
) -> None:
    """For as many epochs as validation chose, at the same learning rates, with nothing measured meanwhile."""
    stage = Stage(name="train", epochs=3, lr=1e-3, schedule="cosine")
    chosen = config(BASELINE, 0, Recipe(select="best", stages=(stage,)))
    refit = dataclasses.replace(chosen, refit=(2,))
    together = rows.assign(split=rows["split"].replace("validation", "train"))
    with pytest.raises(ValueError, match="the split keeps some apart"):
        Trial(refit, photos.store, rows, tmp_path / "apart")
    folder = tmp_path / "refit"
    trial = Trial(refit, photos.store, together, folder)
    assert len(trial.training.rows) == len(rows[rows["split"] != "test"])
    scores = run_trial(trial)
    assert set(scores["split"]) == {"test"} and len(scores) == len(rows[rows["split"] == "test"])
    assert read_scores(folder / SCORES).attrs["trained_on"] == "train and validation"
    assert len(trial.epochs) == 2
    assert trial.epochs[-1]["lr"] > 0.2 * stage.lr, "a cosine over two epochs would have ended near 0"
    assert not any("srocc" in row or "rmse_attacked" in row for row in trial.epochs)
    weights = safetensors.torch.load_file(folder / WEIGHTS)
    for name, value in trial.training.model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=0)
    assert trial_config_from_dict(json.loads((folder / "config.json").read_text())) == refit


def test_a_refit_runs_each_stage_as_long_as_validation_chose() -> None:
    first, last = (Stage(name=name, epochs=4, lr=1e-3, starts_from="best") for name in ("head", "all"))
    rows = [
        {"stage": stage, "srocc": srocc}
        for stage, sroccs in (("head", (math.nan, 0.4, 0.6, 0.6)), ("all", (0.7, 0.5, 0.8, 0.6)))
        for srocc in sroccs
    ]
    assert chosen_epochs(config(BASELINE, 0, Recipe(select="best", stages=(first, last))), rows) == (3, 3)
    assert chosen_epochs(config(BASELINE, 0, Recipe(select="last", stages=(first, last))), rows) == (3, 4)
    for wrong in ((3,), (3, 5), (0, 3)):
        with pytest.raises(ValueError, match="refit gives epochs"):
            dataclasses.replace(config(BASELINE, 0, RECIPE), refit=wrong)
