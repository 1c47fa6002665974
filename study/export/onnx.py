"""An exported model as ONNX, checked against PyTorch before it is kept."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from study.errors import StudyError
from trainables.models.scorer import Scorer

FILE = "model.onnx"
TOLERANCE = 1e-4
"""Largest difference of a score, in MOS points: single precision summed in another order."""


class _Views(nn.Module):
    """The scorer without its input checks, which a graph cannot hold."""

    def __init__(self, model: Scorer) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.score_normalised(self.model.normalise(images))


def write_onnx(model: Scorer, folder: Path) -> None:
    """Write `model.onnx`: `images` (N, 3, height, width) in [0, 1], any N -> `scores` (N,), as PyTorch gives.

    Raises StudyError when the ONNX packages are missing or the two disagree by more than `TOLERANCE`.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError as error:
        raise StudyError(
            f"ONNX needs the package {error.name}; install it with: pip install 'nt-study[onnx]'"
        ) from None
    view = model.input_spec
    images = torch.rand((5, 3, view.height, view.width), generator=torch.Generator().manual_seed(0))
    views = _Views(model).eval()
    (folder / FILE).write_bytes(_graph_of(views, images[:2]))
    with torch.no_grad():
        expected = views(images).numpy()
    session = onnxruntime.InferenceSession(folder / FILE, providers=["CPUExecutionProvider"])
    (found,) = session.run(["scores"], {"images": images.numpy()})
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:
        raise StudyError(f"the ONNX model's scores differ from PyTorch's by up to {difference:.2g}, so it is not kept")


def _graph_of(views: nn.Module, images: Tensor) -> bytes:
    """The ONNX file, equal wherever it is made: the exporter's notes on our source files are taken out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            views,
            (images,),
            input_names=["images"],
            output_names=["scores"],
            dynamic_shapes={"images": {0: torch.export.Dim("images", min=1)}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info):
        del part.metadata_props[:]
    return bytes(proto.SerializeToString(deterministic=True))
