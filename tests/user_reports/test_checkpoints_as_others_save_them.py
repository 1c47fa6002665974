"""`--weights` with files as training code saves them: under many names, in wrappers, and without what MANIQA needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from trainables.models import create_model
from trainables.models.published import load_published, load_weights
from trainables.models.scorer import Scorer

State = dict[str, Tensor]
LAYOUTS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "params": lambda state: {"params": state},
    "state_dict": lambda state: {"state_dict": state, "epoch": 7, "best_srcc": 0.9},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}}},
    "model": lambda state: {"model": state, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}},
    "net": lambda state: {"net": state, "acc": 0.9},
    "network": lambda state: {"network": state},
    "ema": lambda state: {"ema": state, "updates": 100},
    "params_ema": lambda state: {"params": {key: value + 1 for key, value in state.items()}, "params_ema": state},
    "nested": lambda state: {"ema": {"decay": 0.999, "module": state}},
    "an ema of settings": lambda state: {"ema": {"decay": 0.999}, "model": state},
    "DataParallel": lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    "Lightning": lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}, "loops": {}},
    "wrapped twice": lambda state: {f"module.net.{key}": value for key, value in state.items()},
}


@pytest.fixture
def trained() -> Scorer:
    torch.manual_seed(3)
    return create_model("hyperiqa", size="small")


def same(first: Scorer, second: Scorer) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_loaded(trained: Scorer, tmp_path: Path, layout: str) -> None:
    torch.save(LAYOUTS[layout](trained.network.state_dict()), tmp_path / "theirs.pth")
    fresh = create_model("hyperiqa", size="small")
    assert not same(fresh, trained)
    load_weights(fresh, tmp_path / "theirs.pth")
    assert same(fresh, trained)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
def test_weights_of_an_own_trial_are_loaded_with_their_scale(trained: Scorer, tmp_path: Path, name: str) -> None:
    trained.scale.fill_(20.0)
    trained.offset.fill_(-3.0)
    save = safetensors.torch.save_file if name.endswith("s") else torch.save
    save(trained.state_dict(), tmp_path / name)
    fresh = create_model("hyperiqa", size="small")
    load_weights(fresh, tmp_path / name)
    assert same(fresh, trained)


def maniqa_trained_with(scale: float) -> Scorer:
    """A MANIQA as its authors' code makes it with another `scale`."""
    torch.manual_seed(5)
    model = create_model("maniqa", size="small").eval()
    for stage in ("swintransformer1", "swintransformer2"):
        vars(model.network.get_submodule(stage))["scale"] = scale
    return model


def test_maniqa_of_another_data_set_scores_as_there(tmp_path: Path) -> None:
    theirs, images = maniqa_trained_with(0.13), torch.rand(2, 3, 64, 64)
    torch.save({"state_dict": theirs.network.state_dict()}, tmp_path / "ckpt_valid.pt")
    ours = create_model("maniqa", size="small").eval()
    load_weights(ours, tmp_path / "ckpt_valid.pt", swin_scale=0.13)
    with torch.no_grad():
        expected = theirs(images)
        torch.testing.assert_close(ours(images), expected, rtol=1e-5, atol=1e-4)
        load_weights(ours, tmp_path / "ckpt_valid.pt", swin_scale=0.8)
        assert (ours(images) - expected).abs().max() > 0.01, "the scale does not matter to this network"


def test_own_maniqa_weights_need_no_scale(tmp_path: Path) -> None:
    trained, fresh = maniqa_trained_with(0.8), create_model("maniqa", size="small")
    safetensors.torch.save_file(trained.state_dict(), tmp_path / "weights.safetensors")
    load_weights(fresh, tmp_path / "weights.safetensors")
    assert same(fresh, trained)


def test_a_scale_that_a_checkpoint_does_not_need_is_refused(trained: Scorer, tmp_path: Path) -> None:
    torch.save(trained.network.state_dict(), tmp_path / "hyperiqa.pth")
    with pytest.raises(ValueError, match="only MANIQA's checkpoints need a swin_scale"):
        load_weights(trained, tmp_path / "hyperiqa.pth", swin_scale=0.8)


@pytest.fixture
def maniqa_file(tmp_path: Path) -> Path:
    torch.save(create_model("maniqa", size="small").network.state_dict(), tmp_path / "ckpt.pt")
    return tmp_path / "ckpt.pt"


def test_launching_from_a_maniqa_checkpoint_asks_for_its_scale(
    nt: Callable[..., tuple[int, str, str]], maniqa_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(maniqa_file.parent)
    code, _, said = nt("launch", "maniqa", "--preset", "smoke", "--weights", "ckpt.pt")
    assert code == 2
    assert "does not say by which `scale`" in said and "--swin-scale" in said
    assert not (maniqa_file.parent / "studies").exists()


def test_a_scale_is_a_positive_number(maniqa_file: Path) -> None:
    model = create_model("maniqa", size="small")
    for scale in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="swin_scale is a positive number"):
            load_weights(model, maniqa_file, swin_scale=scale)


def test_recognising_looks_below_the_wrapper(trained: Scorer, tmp_path: Path) -> None:
    state = {f"module.{key}": value for key, value in trained.network.state_dict().items()}
    torch.save({"params": state}, tmp_path / "small.pth")
    with pytest.raises(ValueError, match="does not fit the model"):  # recognised, and small where the published is not
        load_published(tmp_path / "small.pth")
