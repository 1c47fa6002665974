"""A study's models in MLflow's registry: versions of `<baseline>-nt`, found by alias, scored without this project."""

from __future__ import annotations

import base64
import importlib.metadata
import io
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from analysis.front import Front, TrialPoint
from study.export.writing import model_config, pick_points, write_model
from study.looking.front_files import front_of
from study.storage.directory import StudyDirectory
from study.tracking.tracker import errors_explained, open_for_reading, store_of

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.tracking import MlflowClient

ALIASES = ("knee", "most-accurate", "most-robust")
PACKAGES = ("study", "trainables", "search_spaces", "analysis")
"""Folders of ours that travel with a model, so that it can be loaded where nt-study is not installed."""
LOADER = Path(__file__).with_name("pyfunc_model.py")
"""MLflow runs this file to load a model. Importing it would declare a model here, so nobody does."""
REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "piq",
    "pyarrow",
    "safetensors",
    "scipy",
    "timm",
    "torch",
    "torchvision",
)


@dataclass(frozen=True, kw_only=True)
class Registered:
    """One version in the registry."""

    model: str
    version: str
    trial: str
    aliases: tuple[str, ...]


def register(directory: StudyDirectory, pick: str = "front", uri: str | None = None) -> list[Registered]:
    """Register the picked trials' models (see `study.export.writing`) and point the aliases at this study's choices.

    A model that is registered already keeps its version. An alias moves only to a model that is picked. Raises
    StudyError for an unknown pick and for a store that cannot be used.
    """
    front = front_of(directory)
    points = pick_points(front, pick)
    store = store_of(directory, uri)
    with errors_explained(store):
        projection = open_for_reading(directory, store)
        model = f"{directory.read_study_file().baseline}-nt"
        _create(projection.client, model)
        return [
            _register(projection.client, model, directory, front, point, projection.runs[point.trial].info.run_id)
            for point in points
        ]


def _register(
    client: MlflowClient, model: str, directory: StudyDirectory, front: Front, point: TrialPoint, run_id: str
) -> Registered:
    version = _version_of(client, model, run_id, directory, point)
    aliases = aliases_of(front, point)
    for alias in aliases:
        client.set_registered_model_alias(model, alias, version)
    return Registered(model=model, version=version, trial=point.trial, aliases=aliases)


def _version_of(client: MlflowClient, model: str, run_id: str, directory: StudyDirectory, point: TrialPoint) -> str:
    """The version that holds this trial's weights, made now if there is none."""
    config = model_config(directory, point)
    for version in client.search_model_versions(f"name = '{model}'"):
        if version.run_id == run_id and version.tags.get("sha256") == config["sha256"]:
            return str(version.version)
    with tempfile.TemporaryDirectory(prefix="nt-study-") as scratch:
        folder = Path(scratch) / "model"
        save_pyfunc(directory, point, folder)
        client.log_artifacts(run_id, str(folder), "model")
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    tags = {"study": directory.name, "trial": point.trial, "sha256": config["sha256"], "lam": f"{point.lam:g}"}
    if point.is_mixture:
        tags |= {"kind": "mixture", "parents": " ".join(point.parents), "weight": f"{point.weight:g}"}
    return str(client.create_model_version(model, source, run_id, tags=tags).version)


def save_pyfunc(directory: StudyDirectory, point: TrialPoint, folder: Path) -> None:
    """Write a trial's export as an MLflow pyfunc model with signature, input example and our code."""
    import mlflow

    root = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory(prefix="nt-study-") as scratch:
        export = Path(scratch) / "export"
        write_model(export, directory, front_of(directory), point)
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(LOADER),
            artifacts={"export": str(export)},
            code_paths=[str(root / package) for package in PACKAGES],
            pip_requirements=[f"{package}=={importlib.metadata.version(package)}" for package in REQUIREMENTS],
            signature=signature(),
            input_example=[input_example(model_config(directory, point)["input"])],
        )


def signature() -> ModelSignature:
    """A list of images in any form -> a list of scores."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    found = ModelSignature(inputs=Schema([ColSpec(AnyType())]), outputs=Schema([ColSpec("double")]))
    # As for a signature from type hints: MLflow hands the input over as it is, instead of forcing it into a table,
    # which cannot hold image arrays. The model checks its input itself.
    found._is_signature_from_type_hint = True
    return found


def input_example(view: dict[str, Any]) -> str:
    """A grey ramp of the model's input size as a data URI, which can be sent anywhere."""
    ramp = np.linspace(0, 255, view["width"]).astype(np.uint8)
    pixels = np.repeat(np.broadcast_to(ramp, (view["height"], view["width"]))[..., None], 3, axis=2)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def aliases_of(front: Front, point: TrialPoint) -> tuple[str, ...]:
    """The names that a trial earns in its study; none where its models have learned nothing."""
    if front.doubt:
        return ()
    holders: Iterable[TrialPoint] = (front.knee, front.most_accurate, front.most_robust)
    return tuple(alias for alias, holder in zip(ALIASES, holders, strict=True) if holder.trial == point.trial)


def _create(client: MlflowClient, model: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model, description="Robust no-reference image quality models; see their trials.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
