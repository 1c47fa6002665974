"""Surrogates, what is made on them, and its cache."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from small_models import noisy_gradients, pixels, rows_of, small_scorer, trained_scorer

from trainables.adversaries import Adversaries, make_adversaries, make_perturbation
from trainables.attacks import create_attack
from trainables.attacks.uap import encode_perturbation, load_perturbation, save_perturbation, train_perturbation
from trainables.config import Recipe, Stage
from trainables.data.store import ImageStore, build_store
from trainables.evaluate import evaluate
from trainables.models import create_model
from trainables.suite import prepare_suite
from trainables.surrogates import RECIPES, Surrogate, load_surrogate, train_surrogate

LEVELS, QUALITY = noisy_gradients(8, seed=31)
ROWS = rows_of(QUALITY)
IMAGES = pixels(LEVELS)


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    return Surrogate(name="stand-in", model=trained_scorer(), fingerprint="f" * 64, trained_on=frozenset())


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return build_store(tmp_path / "store", list(LEVELS))


def test_kor_adversaries_raise_the_surrogates_score_and_are_made_once(surrogate: Surrogate, tmp_path: Path) -> None:
    made = make_adversaries("kor", LEVELS, ROWS, surrogate, cache_dir=tmp_path)
    adversarial = np.stack([made[i] for i in range(8)])
    direct = create_attack("kor")(surrogate.model, IMAGES)
    assert (adversarial == (direct * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()).mean() > 0.99
    with torch.no_grad():
        assert (surrogate.model(pixels(adversarial)) > surrogate.model(IMAGES)).all()
    calls: list[int] = []
    hook = surrogate.model.register_forward_hook(lambda module, args, output: calls.append(len(args[0])))
    again = make_adversaries("kor", LEVELS, ROWS, surrogate, cache_dir=tmp_path)
    hook.remove()
    assert calls == []
    assert all((again[i] == made[i]).all() for i in range(8))


def test_another_surrogate_attack_or_image_is_another_cache(surrogate: Surrogate, tmp_path: Path) -> None:
    def make(rows: pd.DataFrame = ROWS.iloc[:2], surrogate: Surrogate = surrogate, **params: Any) -> None:
        make_adversaries("kor", LEVELS, rows, surrogate, cache_dir=tmp_path, **params)

    other = Surrogate(name="other", model=surrogate.model, fingerprint="0" * 64, trained_on=frozenset())
    make()
    make()
    make(lr=0.5)
    make(surrogate=other)
    make(rows=ROWS.iloc[:2].assign(sha256=["a", "b"]))
    folders = [path for path in (tmp_path / "adversaries").iterdir() if path.is_dir()]
    assert len(folders) == 4


def test_a_failure_leaves_nothing_half_made(surrogate: Surrogate, tmp_path: Path) -> None:
    class Breaking:
        def __getitem__(self, index: int) -> Any:
            if index == 5:
                raise RuntimeError("the disk went away")
            return LEVELS[index]

    with pytest.raises(RuntimeError, match="disk"):
        make_adversaries("kor", Breaking(), ROWS, surrogate, cache_dir=tmp_path)
    assert not [path for path in (tmp_path / "adversaries").iterdir() if path.is_dir()]
    assert make_adversaries("kor", LEVELS, ROWS, surrogate, cache_dir=tmp_path)[5].shape == (24, 24, 3)


def test_images_keep_their_sizes_and_positions(surrogate: Surrogate, tmp_path: Path) -> None:
    """Rows in any order, pictures of any size: each is attacked whole and found again by its position."""
    surrogate.model.input_spec = small_scorer().input_spec.__class__(height=24, width=24, mode="crop", smallest=8)
    images = [LEVELS[0], np.tile(LEVELS[1], (2, 1, 1)), LEVELS[2], LEVELS[3]]
    rows = rows_of(QUALITY[:4]).iloc[[3, 1, 0]]
    perturbation = 0.1 * torch.sin(torch.arange(3 * 5 * 7.0)).view(3, 5, 7)
    made = make_adversaries("uap", images, rows, surrogate, cache_dir=tmp_path, perturbation=perturbation)
    attack = create_attack("uap", perturbation=perturbation)
    for index in (3, 1, 0):
        expected = attack(surrogate.model, pixels(images[index][None])) * 255
        assert (made[index] == expected.round()[0].permute(1, 2, 0).numpy()).all()
    with pytest.raises(ValueError, match="no adversary of image 2"):
        made[2]


def test_a_surrogate_that_knows_the_images_is_refused(surrogate: Surrogate, tmp_path: Path) -> None:
    knowing = Surrogate(
        name="paq2piq", model=surrogate.model, fingerprint="f", trained_on=frozenset(ROWS["sha256"].iloc[4:6])
    )
    with pytest.raises(ValueError, match=r"paq2piq was trained on 2 of the images to attack, such as 4\.png"):
        make_adversaries("kor", LEVELS, ROWS, knowing, cache_dir=tmp_path)
    make_adversaries("uap", LEVELS, ROWS.iloc[:4], knowing, cache_dir=tmp_path, perturbation=torch.zeros(3, 4, 4))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b"no weights"),
        ("surrogate.json", b"{"),
        ("surrogate.json", b"[]"),
        ("surrogate.json", b'{"name": "paq2piq", "size": "vast", "trained_on": []}'),
        ("surrogate.json", b'{"name": "paq2piq", "size": "small", "trained_on": 3}'),
        ("surrogate.json", b'{"name": "resnet50_substitute", "size": "small", "trained_on": []}'),
    ],
)
def test_a_damaged_surrogate_is_named(tmp_path: Path, file: str, content: bytes) -> None:
    save_file(create_model("paq2piq", size="small").state_dict(), tmp_path / "model.safetensors")
    description = {"name": "paq2piq", "size": "small", "trained_on": []}
    (tmp_path / "surrogate.json").write_text(json.dumps(description), encoding="utf-8")
    assert load_surrogate(tmp_path).name == "paq2piq"
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        load_surrogate(tmp_path)


def test_evaluation_takes_adversaries_in_an_attacks_place(surrogate: Surrogate, tmp_path: Path) -> None:
    made = make_adversaries("kor", LEVELS, ROWS, surrogate, cache_dir=tmp_path, lr=2.0)
    table = evaluate(surrogate.model, LEVELS, ROWS, {"kor": made})
    assert (table["attacked_score"] > table["clean_score"]).all()
    assert (table["attacked_score"] == table["attacked_score_8bit"]).all()


def test_a_trained_perturbation_raises_scores_and_keeps_its_limit(
    surrogate: Surrogate, store: ImageStore, tmp_path: Path
) -> None:
    path = make_perturbation(
        surrogate, store, ROWS, cache_dir=tmp_path, side=24, epochs=20, batch_size=4, limit=0.05, seed=1
    )
    perturbation = load_perturbation(path)
    assert perturbation.abs().max() <= 0.05 + 1 / 255
    attack = create_attack("uap", perturbation=path, multiplier=1.0)
    with torch.no_grad():
        assert (surrogate.model(attack(surrogate.model, IMAGES)) > surrogate.model(IMAGES) + 1).all()
    written = path.stat().st_mtime_ns
    again = make_perturbation(
        surrogate, store, ROWS, cache_dir=tmp_path, side=24, epochs=20, batch_size=4, limit=0.05, seed=1
    )
    assert again == path
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize("method", ["optimized", "cumulative"])
def test_perturbation_training_follows_its_two_rules(method: Any) -> None:
    """Against the loops written out with autograd through a straight-through clamp."""
    model = trained_scorer(steps=60).double()
    batches = [IMAGES[i : i + 2].double() for i in (0, 2, 4, 0)]
    found, losses = train_perturbation(model, batches, method=method, limit=0.02)
    expected = torch.zeros(3, 24, 24, dtype=torch.float64, requires_grad=True)
    mean, square = torch.zeros_like(expected), torch.zeros_like(expected)
    for t, batch in enumerate(batches, start=1):
        moved = batch + expected
        loss = 1 - model(moved + (moved.clamp(0, 1) - moved).detach()).mean() / 100
        assert losses[t - 1] == pytest.approx(loss.item(), abs=1e-9)
        (gradient,) = torch.autograd.grad(loss, expected)
        with torch.no_grad():
            if method == "cumulative":
                step = gradient
            else:
                mean = 0.9 * mean + 0.1 * gradient
                square = 0.999 * square + 0.001 * gradient**2
                step = 0.001 * (mean / (1 - 0.9**t)) / ((square / (1 - 0.999**t)).sqrt() + 1e-8)
            expected.copy_((expected - step).clamp(-0.02, 0.02))
    torch.testing.assert_close(found, expected.detach(), atol=1e-7, rtol=1e-5)


def test_perturbations_are_encoded_as_published(tmp_path: Path) -> None:
    perturbation = torch.linspace(-0.1, 0.1, 3 * 5 * 4).view(3, 5, 4)
    levels = encode_perturbation(perturbation)
    assert levels.shape == (5, 4, 3)
    assert (levels.min(), levels.max()) == (102, 153)
    save_perturbation(tmp_path / "uap.png", perturbation)
    decoded = load_perturbation(tmp_path / "uap.png")
    below = perturbation - decoded
    assert -1e-6 < below.min() <= below.max() < 1 / 255 + 1e-6


@pytest.mark.parametrize(("method", "message"), [("newton", "optimized or cumulative"), ("optimized", "one batch")])
def test_impossible_trainings_are_refused(method: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_perturbation(lambda images: images.sum((1, 2, 3)), [], method=method)


@pytest.mark.parametrize("name", ["paq2piq", "resnet50_substitute"])
def test_surrogates_are_trained_once_and_loaded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        RECIPES,
        (name, "small"),
        Recipe(stages=(Stage(name="train", epochs=2, lr=1e-3, batch_size=8),)),
    )
    levels, quality = noisy_gradients(16, side=64)
    store, rows = build_store(tmp_path / "store", list(levels)), rows_of(quality)
    epochs: list[dict[str, Any]] = []
    trained, again = (
        train_surrogate(name, store, rows, cache_dir=tmp_path, size="small", seed=3, report=epochs.append)
        for _ in range(2)
    )
    assert [row["epoch"] for row in epochs] == [1, 2]
    assert trained.fingerprint == again.fingerprint
    assert trained.trained_on == frozenset(rows["sha256"])
    assert not trained.model.training
    images = pixels(levels)
    with torch.no_grad():
        assert torch.equal(trained.model(images), again.model(images))
    other = train_surrogate(name, store, rows, cache_dir=tmp_path, size="small", seed=4)
    assert other.fingerprint != trained.fingerprint


@pytest.mark.slow
def test_a_suites_own_perturbation_has_the_papers_strength(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few training images there are: 0.04, and half a level for the truncation to 8 bits."""
    monkeypatch.setitem(RECIPES, ("paq2piq", "small"), Recipe(stages=(Stage(name="train", epochs=1, lr=1e-3),)))
    levels, quality = noisy_gradients(10, side=64)
    store, rows = build_store(tmp_path / "store", list(levels)), rows_of(quality)
    rows["split"] = ["train"] * 8 + ["test"] * 2
    ready = prepare_suite({"uap": {"name": "uap"}}, store, rows, None, size="small", cache_dir=tmp_path)
    adversaries = ready["uap"]
    assert isinstance(adversaries, Adversaries)
    moved = np.abs(np.stack([adversaries[i] for i in (8, 9)]).astype(int) - levels[8:]) / 255
    assert 0.035 < moved.max() <= 0.04 + 1 / 255
    with pytest.raises(ValueError, match="no adversary of image 0"):
        adversaries[0]


def test_published_weights_are_a_surrogate(tmp_path: Path) -> None:
    torch.manual_seed(0)
    published = create_model("paq2piq", size="paper")
    torch.save({"model": published.network.state_dict()}, tmp_path / "RoIPoolModel.pth")
    loaded = load_surrogate(tmp_path / "RoIPoolModel.pth")
    again = load_surrogate(tmp_path / "RoIPoolModel.pth")
    assert loaded.trained_on == frozenset()
    assert loaded.fingerprint == again.fingerprint
    with torch.no_grad():
        assert torch.equal(loaded.model(IMAGES.repeat(1, 1, 2, 2)), published.eval()(IMAGES.repeat(1, 1, 2, 2)))


def test_what_is_no_surrogate_is_refused(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose paq2piq or resnet50_substitute"):
        train_surrogate("hyperiqa", store, ROWS, cache_dir=tmp_path)
    with pytest.raises(ValueError, match="holds no surrogate"):
        load_surrogate(tmp_path)
    (tmp_path / "surrogate.json").write_text(json.dumps({"name": "paq2piq"}))
    with pytest.raises(ValueError, match="holds no surrogate"):
        load_surrogate(tmp_path)
