"""Checkpoints as the authors publish them, and what is said of files that are something else."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables.models import create_model
from trainables.models.published import load_published, load_weights
from trainables.models.scorer import Scorer

GOLDEN = Path(__file__).parent.parent / "golden" / "models"


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def in_data_parallel(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{key}": value for key, value in state.items()}


def saved(path: Path, contents: object) -> Path:
    torch.save(contents, path)
    return path


def same_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.fixture(scope="module")
def paper_models() -> dict[str, Scorer]:
    torch.manual_seed(11)
    return {name: create_model(name) for name in ("hyperiqa", "dbcnn", "linearityiqa", "paq2piq")}


@pytest.mark.parametrize("is_named", [True, False])
def test_nt_hyperiqa_with_its_optimiser_state(paper_models: dict[str, Scorer], tmp_path: Path, is_named: bool) -> None:
    network = paper_models["hyperiqa"].network
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-5)
    path = saved(tmp_path / "nt.pth", {"model": network.state_dict(), "optimizer": optimizer.state_dict()})
    loaded = load_published(path, "hyperiqa") if is_named else load_published(path)
    assert same_weights(loaded.network, network)
    assert not loaded.training


def test_hyperiqa_as_a_bare_state_dict_in_the_old_format(paper_models: dict[str, Scorer], tmp_path: Path) -> None:
    network = paper_models["hyperiqa"].network
    path = tmp_path / "koniq_pretrained.pkl"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)
    assert same_weights(load_published(path).network, network)


def test_dbcnn_from_data_parallel(paper_models: dict[str, Scorer], tmp_path: Path) -> None:
    network = paper_models["dbcnn"].network
    path = saved(tmp_path / "net_params_best.pkl", in_data_parallel(network.state_dict()))
    assert same_weights(load_published(path).network, network)


def test_linearityiqa_brings_its_rescaling(paper_models: dict[str, Scorer], tmp_path: Path) -> None:
    arrays = np.load(GOLDEN / "linearityiqa.npz")
    network = paper_models["linearityiqa"].network
    checkpoint = {
        "model": network.state_dict(),
        "optimizer": {"state": {}, "param_groups": []},
        "amp": {"loss_scaler0": {"loss_scale": 65536.0, "unskipped": 12}},
        "k": arrays["map_k"].tolist(),  # final output, third stage, fourth stage
        "b": arrays["map_b"].tolist(),
    }
    loaded = load_published(saved(tmp_path / "p1q2", checkpoint))
    assert same_weights(loaded.network, network)
    mapped = loaded.to_mos(torch.from_numpy(arrays["loss_preds"][-1]))
    np.testing.assert_allclose(mapped.numpy(), arrays["mapped_final"], rtol=1e-6)


def test_paq2piq_under_model(paper_models: dict[str, Scorer], tmp_path: Path) -> None:
    network = paper_models["paq2piq"].network
    path = saved(tmp_path / "RoIPoolModel.pth", {"model": network.state_dict()})
    assert same_weights(load_published(path).network, network)


def scnn_state(dbcnn: Scorer) -> dict[str, Tensor]:
    """The pre-training file's layout: DBCNN's second stream, a projection and a classifier, in DataParallel."""
    features = {
        f"features.{key}": torch.rand_like(value)
        for key, value in dbcnn.network.get_submodule("features2").state_dict().items()
        if not key.endswith("num_batches_tracked")  # older than the counter
    }
    head = {"projection.0.weight": torch.rand(256, 128, 1, 1), "classifier.weight": torch.rand(39, 256)}
    return in_data_parallel({**features, **head})


def test_scnn_fills_one_stream_of_dbcnn(paper_models: dict[str, Scorer], tmp_path: Path) -> None:
    state = scnn_state(paper_models["dbcnn"])
    path = saved(tmp_path / "scnn.pkl", state)
    model = create_model("dbcnn")
    objects = model.network.get_parameter("features1.0.weight").clone()
    load_weights(model, path)
    streams = model.network.state_dict()
    assert torch.equal(streams["features2.24.weight"], state["module.features.24.weight"])
    assert torch.equal(streams["features2.25.running_var"], state["module.features.25.running_var"])
    assert torch.equal(streams["features1.0.weight"], objects)
    with pytest.raises(ValueError, match=r"only the S-CNN stream of DBCNN; use load_weights"):
        load_published(path)


@pytest.fixture
def small() -> Scorer:
    return create_model("paq2piq", size="small")


def test_keys_that_do_not_fit_are_named_and_change_nothing(small: Scorer, tmp_path: Path) -> None:
    state = {key: torch.zeros_like(value) for key, value in small.network.state_dict().items()}
    for key in [key for key in state if key.startswith("body.4.")]:
        del state[key]
    state["head.9.weight"] = torch.zeros(1)
    state["head.8.weight"] = torch.zeros(1, 3)
    with pytest.raises(ValueError) as caught:
        load_weights(small, saved(tmp_path / "wrong.pth", {"model": state}))
    message = str(caught.value)
    assert "10 missing (body.4.0.conv1.weight, body.4.0.bn1.weight, body.4.0.bn1.bias, …)" in message
    assert "1 unexpected (head.9.weight)" in message
    assert "1 misshapen (head.8.weight (1, 3) instead of (1, 64))" in message
    assert small.network.get_parameter("body.0.weight").abs().sum() > 0


def test_another_models_checkpoint_is_refused(paper_models: dict[str, Scorer], tmp_path: Path) -> None:
    path = saved(tmp_path / "paq2piq.pth", paper_models["paq2piq"].network.state_dict())
    with pytest.raises(ValueError, match="does not fit the model"):
        load_published(path, "dbcnn")


def test_hostile_pickles_are_refused_and_never_run(small: Scorer, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    zipped = saved(tmp_path / "zipped.pth", {"model": Hostile(marker)})
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(pickle.dumps(Hostile(marker), protocol=2))
    for path in (zipped, plain):
        with pytest.raises(ValueError, match=r"unpickling (posix|nt)\.system could run code"):
            load_weights(small, path)
        with pytest.raises(ValueError, match="could run code"):
            load_published(path)
    assert not marker.exists()


def test_whole_pickled_modules_are_refused(small: Scorer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"could run code; save its state_dict\(\)"):
        load_weights(small, saved(tmp_path / "module.pth", small.network))


@pytest.mark.parametrize("is_zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_files_are_refused(small: Scorer, tmp_path: Path, share: float, is_zipped: bool) -> None:
    path = tmp_path / "cut.pth"
    torch.save(small.network.state_dict(), path, _use_new_zipfile_serialization=is_zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"cut\.pth is (truncated or no PyTorch checkpoint|no checkpoint that can)"):
        load_weights(small, path)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([1, 2, 3], "holds no state dict"),
        ({}, "holds no state dict"),
        ({"epoch": 3, "weights": {}}, "holds no state dict.*found the keys epoch, weights"),
        ({"epoch": 3, "generator": {"w": torch.zeros(1)}}, "holds no state dict.*found the keys epoch, generator"),
        ({"conv.weight": torch.zeros(1)}, "no checkpoint of hyperiqa, dbcnn"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, contents: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_published(saved(tmp_path / "other.pth", contents))


@pytest.mark.parametrize("k", [[float("nan"), 1.0, 1.0], "12", []])
def test_a_rescaling_that_is_no_number_is_refused(tmp_path: Path, k: object) -> None:
    model = create_model("linearityiqa", size="small")
    path = saved(tmp_path / "p1q2", {"model": model.network.state_dict(), "k": k, "b": [0.0, 0.0, 0.0]})
    with pytest.raises(ValueError, match="expected finite numbers under 'k'"):
        load_weights(model, path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no checkpoint file at .*nowhere\.pth"):
        load_published(tmp_path / "nowhere.pth")
