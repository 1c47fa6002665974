"""Registered models: versions, aliases, and scores from a fresh process that serves one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ports import free_port

from study.looking.front_files import front_of
from study.storage.directory import StudyDirectory
from study.tracking.registry import ALIASES, Registered, register
from study.tracking.server import HOST, Server
from study.tracking.store import DEFAULTS, connect
from trainables.data import open_dataset
from trainables.record import read_scores


@pytest.fixture(scope="module")
def study(smoke_study: StudyDirectory, tmp_path_factory: pytest.TempPathFactory) -> StudyDirectory:
    copy = tmp_path_factory.mktemp("studies") / smoke_study.name
    shutil.copytree(smoke_study.path, copy)
    return StudyDirectory(copy)


@pytest.fixture(scope="module")
def registered(study: StudyDirectory, mlflow_server: Server) -> list[Registered]:
    return register(study, "front", mlflow_server.address)


def test_front_members_are_versions_and_the_study_s_choices_are_aliases(
    study: StudyDirectory, registered: list[Registered], mlflow_server: Server
) -> None:
    front = front_of(study)
    assert [version.trial for version in registered] == [member.trial for member in front.members]
    client = connect(mlflow_server.address)
    for alias, member in zip(ALIASES, (front.knee, front.most_accurate, front.most_robust), strict=True):
        version = client.get_model_version_by_alias("hyperiqa-nt", alias)
        assert version.tags["trial"] == member.trial
        run = client.get_run(version.run_id)
        assert (run.data.tags["study"], run.data.tags["trial"]) == (study.name, member.trial)


def test_registering_again_makes_no_new_version(
    study: StudyDirectory, registered: list[Registered], mlflow_server: Server
) -> None:
    assert register(study, "knee", mlflow_server.address) == [
        version for version in registered if "knee" in version.aliases
    ]
    assert len(connect(mlflow_server.address).search_model_versions("name = 'hyperiqa-nt'")) == len(registered)


@pytest.fixture(scope="module")
def served(registered: list[Registered], mlflow_server: Server) -> Iterator[str]:
    """The address of `mlflow models serve` on the knee, a process that is started in another folder."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", "models:/hyperiqa-nt@knee"]
    command += ["--env-manager", "local", "--host", HOST, "--port", str(port)]
    # MLflow looks for uvicorn on the PATH, as it is where an environment has been activated.
    environment = {**os.environ, **DEFAULTS, "MLFLOW_TRACKING_URI": mlflow_server.address}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(command, env=environment, cwd="/", start_new_session=True)
    try:
        wait_for(process, f"http://{HOST}:{port}/ping")
        yield f"http://{HOST}:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def wait_for(process: subprocess.Popen[bytes], address: str, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < deadline and process.poll() is None, "the model is not served"
            time.sleep(0.5)


def test_a_served_model_scores_as_the_study_did(study: StudyDirectory, served: str, tmp_path: Path) -> None:
    table = read_scores(study.trial(front_of(study).knee.trial) / "scores.parquet")
    expected = table[(table["split"] == "test") & (table["attack"] == "fgsm")].head(5)
    rows = study.read_split().set_index("image")
    store = open_dataset(study.read_study_file().data).store
    paths = []
    for image in expected["image"]:
        paths.append(tmp_path / f"{image}.png")
        Image.fromarray(store[int(rows.loc[image, "index"])]).save(paths[-1])
    body = json.dumps({"inputs": [str(path) for path in paths]}).encode()
    request = urllib.request.Request(served, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        found = json.load(response)["predictions"]
    np.testing.assert_allclose(found, expected["clean_score"], rtol=1e-5)


def test_images_may_come_as_files_arrays_or_data_uris(
    registered: list[Registered], mlflow_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.syspath_prepend("")  # restores sys.path, to which MLflow adds the model's own code
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.address)
    model = mlflow.pyfunc.load_model("models:/hyperiqa-nt@most-robust")
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    paths = [str(tmp_path / f"{row}.png") for row in range(3)]
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image).save(path)
    expected = model.predict(images)
    for same in (list(images), images / 255, images.tolist(), paths, pd.DataFrame({"image": paths})):
        np.testing.assert_allclose(model.predict(same), expected, rtol=1e-6)
    assert np.isfinite(model.predict(model.input_example)).all()
    assert model.metadata.signature is not None
    for wrong, message in (([np.zeros((64, 64))], "array"), ([images[0] + 0.5], "in \\[0, 1\\]"), (["no.png"], "read")):
        with pytest.raises(ValueError, match=message):
            model.predict(wrong)
