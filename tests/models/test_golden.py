"""The paper-size models compute what the original implementations compute."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from trainables.models import create_model
from trainables.models.paq2piq import block_boxes, rescale
from trainables.regularizer import nt_penalty

GOLDEN = Path(__file__).parent.parent / "golden" / "models"
NAMES = ("hyperiqa", "dbcnn", "linearityiqa", "maniqa", "paq2piq")
NUM_IMAGES = {"maniqa": 1}
"""Images that are run; all where nothing is said. ViT-B/8 in double precision is too slow for two."""

FORWARD = 1e-8
"""Relative to the largest entry, double precision."""
GRADIENT = 1e-4
"""The same for gradients, which jump where an argmax or a ReLU is undecided."""
SINGLE = 1e-5
"""Scores in single precision."""


class Pass(NamedTuple):
    outputs: Tensor
    """Native outputs `(N,)` or `(K, N)`."""
    gradient: Tensor
    """Of the summed scores with respect to the inputs."""
    recorded: dict[str, tuple[Any, Any]]
    """Part of the network -> its input and its output."""


class Reference:
    """A paper-size model with the reference weights in double precision, its inputs, and the original's values."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.num_images = NUM_IMAGES.get(name, 2)
        self.arrays: dict[str, NDArray[Any]] = dict(np.load(GOLDEN / f"{name}.npz"))
        self.scorer = create_model(name).double().eval()
        self.network = self.scorer.network
        fill_weights(self.network, int(self.arrays["seed"]))

    def inputs(self, suffix: str = "") -> Tensor:
        """Normalised images `(N, 3, H, W)`, contiguous: another memory order breaks ties between pixels otherwise."""
        images = torch.from_numpy(self.arrays[f"images{suffix}"][: self.num_images]).permute(0, 3, 1, 2)
        mean, std = (torch.from_numpy(self.arrays[key]).view(3, 1, 1) for key in ("norm_mean", "norm_std"))
        return (images.double().contiguous() / 255 - mean) / std

    def expected(self, key: str) -> NDArray[np.float64]:
        """The original's values of the images that are run, in double precision where there are two versions."""
        values = self.arrays.get(f"{key}_f64", self.arrays.get(key))
        assert values is not None
        return values[..., : self.num_images] if key == "outputs" else values[: self.num_images]

    @cached_property
    def forward(self) -> Pass:
        return self.run(self.inputs())

    def run(self, inputs: Tensor) -> Pass:
        """One forward and backward pass, with what went into and came out of the network's parts."""
        recorded: dict[str, tuple[Any, Any]] = {}

        def keep(name: str, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            recorded[name] = (arguments[0].detach(), output)

        parts = self.network.named_children()
        handles = [part.register_forward_hook(partial(keep, name)) for name, part in parts]
        outputs = self.network(inputs.requires_grad_())
        for handle in handles:
            handle.remove()
        (gradient,) = torch.autograd.grad(final(outputs).sum(), inputs)
        return Pass(outputs.detach(), gradient, recorded)


def fill_weights(network: nn.Module, seed: int) -> None:
    """The reference weights: each tensor is drawn by a generator that is seeded with its name."""
    state = network.state_dict()
    for key, tensor in state.items():
        last = key.rpartition(".")[2]
        if last == "num_batches_tracked":
            tensor.zero_()
        elif tensor.is_floating_point() and last != "attn_mask":
            tensor.copy_(torch.from_numpy(_drawn(key, last, tuple(tensor.shape), seed)))
    network.load_state_dict(state)


def _drawn(key: str, last: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    random = np.random.RandomState(zlib.crc32(f"{seed}:{key}".encode()))
    if last == "running_var":
        return np.asarray(random.uniform(0.8, 1.2, shape))
    if last == "weight" and len(shape) == 1:
        return np.asarray(random.uniform(0.4, 0.9, shape))
    if last == "running_mean":
        spread = 0.05
    elif last in ("pos_embed", "cls_token"):
        spread = 0.2
    elif len(shape) >= 2:
        spread = float(np.sqrt((0.25 if len(shape) == 2 else 2.0) / np.prod(shape[1:])))
    else:
        spread = 0.02
    return np.asarray(spread * random.standard_normal(shape))


def final(outputs: Tensor) -> Tensor:
    return outputs if outputs.ndim == 1 else outputs[-1]


def relative_error(actual: Tensor, expected: ArrayLike) -> float:
    """Largest difference over the largest entry."""
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    return float(np.abs(actual.detach().numpy() - expected).max() / np.abs(expected).max())


def mean_std(values: Tensor) -> Tensor:
    """Mean and standard deviation of each image's values, `(N, 2)`."""
    flat = values.flatten(1)
    return torch.stack((flat.mean(1), flat.std(1)), dim=1)


@pytest.fixture(scope="module")
def reference(request: pytest.FixtureRequest) -> Iterator[Reference]:
    yield Reference(request.param)


def of(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("reference", names, indirect=True)


@of(*NAMES)
def test_parameters_are_named_as_published(reference: Reference) -> None:
    published = json.loads((GOLDEN / f"{reference.name}.keys.json").read_text())
    assert [[key, list(value.shape)] for key, value in reference.network.state_dict().items()] == published


@of(*NAMES)
def test_scores_are_the_originals(reference: Reference) -> None:
    outputs = reference.forward.outputs
    assert relative_error(final(outputs), reference.expected("scores")) < FORWARD


@of(*NAMES)
def test_input_gradients_are_the_originals(reference: Reference) -> None:
    gradient = reference.forward.gradient
    per_pixel = gradient / torch.from_numpy(reference.arrays["norm_std"]).view(3, 1, 1)
    assert relative_error(gradient.abs().sum((1, 2, 3)), reference.expected("grad_l1")) < GRADIENT
    assert relative_error(gradient.flatten(1).norm(dim=1), reference.expected("grad_l2")) < GRADIENT
    assert relative_error(gradient[:, :, 100:104, 100:104], reference.expected("grad_patch")) < GRADIENT
    assert relative_error(per_pixel.abs().sum((1, 2, 3)), reference.expected("grad_l1_pixel01")) < GRADIENT


@of(*NAMES)
def test_scorer_normalises_as_the_original(reference: Reference) -> None:
    pixels = torch.from_numpy(reference.arrays["images"][: reference.num_images]).permute(0, 3, 1, 2).double() / 255
    # The scorer keeps its statistics in single precision until it is converted.
    assert torch.allclose(reference.scorer.normalise(pixels), reference.inputs(), rtol=0, atol=1e-6)


@of("hyperiqa", "dbcnn", "linearityiqa", "paq2piq")
def test_single_precision_scores_are_the_originals(reference: Reference) -> None:
    network = reference.network.float()
    try:
        with torch.no_grad():
            scores = final(network(reference.inputs().float()))
    finally:
        network.double()
        fill_weights(network, int(reference.arrays["seed"]))
    assert relative_error(scores, reference.arrays["scores"]) < SINGLE


@of("hyperiqa")
def test_hyper_network_writes_the_originals_weights(reference: Reference) -> None:
    layers = range(1, 5)
    outputs = {name: output for name, (_, output) in reference.forward.recorded.items()}
    x = outputs["res"][1]
    assert relative_error(x, reference.expected("target_in_vec")) < FORWARD
    widths = (224, 112, 56, 28, 14)
    for layer, (before, after) in zip(layers, pairwise(widths), strict=True):
        weight, bias = outputs[f"fc{layer}w_conv"].flatten(1), outputs[f"fc{layer}b_fc"]
        assert relative_error(mean_std(weight), reference.expected(f"target_fc{layer}w_mean_std")) < FORWARD
        assert relative_error(weight[:, :8], reference.expected(f"target_fc{layer}w_first8")) < FORWARD
        assert relative_error(bias, reference.expected(f"target_fc{layer}b")) < FORWARD
        x = torch.sigmoid(torch.einsum("noi,ni->no", weight.view(-1, after, before), x) + bias)
        if layer < 4:
            assert relative_error(x, reference.expected(f"target_hidden{layer}")) < FORWARD
    assert relative_error(outputs["fc5w_fc"][:, :8], reference.expected("target_fc5w_first8")) < FORWARD
    assert relative_error(outputs["fc5b_fc"], reference.expected("target_fc5b")) < FORWARD


@of("hyperiqa")
@pytest.mark.parametrize(
    ("mode", "loss_tolerance", "norm_tolerance"),
    [("eval", 2e-4, 2e-4), ("train", 3e-2, 1.5e-1)],  # two images' batch statistics let single signs flip
)
def test_nt_loss_and_its_gradients_are_the_originals(
    reference: Reference, mode: str, loss_tolerance: float, norm_tolerance: float
) -> None:
    reference.network.train(mode == "train")
    try:
        outputs, loss = nt_penalty(reference.scorer.outputs, reference.inputs(), float(reference.arrays["nt_h"][0]))
        reference.network.zero_grad()
        loss.backward()
        counted = reference.network.get_buffer("res.bn1.num_batches_tracked").item()
    finally:
        reference.network.eval()
        fill_weights(reference.network, int(reference.arrays["seed"]))
    names = [str(name) for name in reference.arrays["nt_param_names"]]
    norms = torch.stack([reference.network.get_parameter(name).grad.norm() for name in names])  # type: ignore[union-attr]
    assert counted == (2 if mode == "train" else 0)  # BatchNorm statistics move with each forward pass
    assert relative_error(outputs, reference.expected(f"nt_pred_cur_{mode}")) < FORWARD
    assert relative_error(loss.view(1), reference.expected(f"nt_loss_{mode}")) < loss_tolerance
    expected_norms = reference.arrays[f"nt_param_grad_l2_{mode}_f64"]
    assert relative_error(norms, expected_norms) < norm_tolerance
    assert norms[names.index("fc5b_fc.bias")] == 0  # the final bias cancels in the difference


@of("dbcnn")
@pytest.mark.parametrize("suffix", ["", "_odd"])
def test_streams_and_bilinear_pooling_are_the_originals(reference: Reference, suffix: str) -> None:
    # The odd size leaves the streams 15x15 and 16x16 maps, so the second one is resized.
    ran = reference.run(reference.inputs(suffix)) if suffix else reference.forward
    for stream, name in (("features1", "vgg"), ("features2", "scnn")):
        features = ran.recorded[stream][1]
        assert list(features.shape[2:]) == reference.arrays[f"{name}_hw{suffix}"].tolist()
        assert relative_error(mean_std(features), reference.arrays[f"{name}_feat_mean_std{suffix}"]) < FORWARD
    pooled, _ = ran.recorded["fc"]
    assert relative_error(pooled[:, :64], reference.arrays[f"bilinear_first64{suffix}"]) < FORWARD
    assert relative_error(pooled.sum(1), reference.arrays[f"bilinear_sum{suffix}"]) < FORWARD
    assert relative_error(ran.outputs, reference.arrays[f"scores{suffix}_f64"]) < FORWARD
    assert relative_error(ran.gradient.abs().sum((1, 2, 3)), reference.arrays[f"grad_l1{suffix}_f64"]) < GRADIENT


@of("linearityiqa")
def test_both_levels_are_the_originals(reference: Reference) -> None:
    outputs = reference.forward.outputs
    assert relative_error(outputs, reference.expected("outputs")) < FORWARD
    features, _ = reference.forward.recorded["regression"]
    assert relative_error(features, reference.expected("features")) < FORWARD


@of("maniqa")
def test_stages_and_patches_are_the_originals(reference: Reference) -> None:
    stages = {
        "tab1_out": "tablock1",
        "swin1_out": "swintransformer1",
        "tab2_out": "tablock2",
        "swin2_out": "swintransformer2",
    }
    recorded = reference.forward.recorded
    features = recorded["tablock1"][0].transpose(1, 2)
    assert relative_error(features.flatten(1)[:, :8], reference.expected("feat_first8")) < FORWARD
    assert relative_error(mean_std(features), reference.expected("feat_mean_std")) < FORWARD
    for key, module in stages.items():
        assert relative_error(mean_std(recorded[module][1]), reference.expected(f"{key}_mean_std")) < FORWARD
    for key, branch in (("patch_score", "fc_score"), ("patch_weight", "fc_weight")):
        assert relative_error(recorded[branch][1].squeeze(2), reference.expected(key)) < FORWARD


@of("paq2piq")
def test_regions_are_scored_as_in_the_published_inference(reference: Reference) -> None:
    inputs = reference.inputs()[:1].requires_grad_()
    scores = reference.network(inputs, block_boxes(240, 320))
    (gradient,) = torch.autograd.grad(scores[0, 0], inputs)
    assert relative_error(scores[:, 0], reference.arrays["roi_global_f64"]) < FORWARD
    assert relative_error(scores[0, 1:].view(20, 20), reference.arrays["roi_local"]) < FORWARD
    assert relative_error(gradient.abs().sum((1, 2, 3)), reference.arrays["roi_grad_l1_f64"]) < GRADIENT
    assert (
        relative_error(rescale(torch.tensor(reference.arrays["rescale_raw"])), reference.arrays["rescale_normalised"])
        < FORWARD
    )
