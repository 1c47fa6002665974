"""`import nt_study`: studies as tables and plots, models that score, attacks on whatever scores images."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from command_line import run_here
from PIL import Image
from torch import Tensor, nn
from written_study import IMAGES, write_study

import nt_study
from nt_study import Study
from study.errors import StudyError
from trainables.models import create_model
from trainables.record import SCHEMA, WEIGHTS


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study with made-up score tables and weights that were drawn."""
    directory = write_study(tmp_path_factory.mktemp("studies"), "written", ends=("complete", "failed", "complete"))
    for number, trial in enumerate(sorted(directory.trials.iterdir())):
        torch.manual_seed(number)
        safetensors.torch.save_file(create_model("hyperiqa", size="small").state_dict(), trial / WEIGHTS)
    return nt_study.open_study("written", directory.path.parent)


def studies_of(study: Study) -> Path:
    return Path(study.place).parent


class Brightness(nn.Module):
    """Somebody's own model: (N, 1) scores in [0, 100]."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.noise = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        return 100 * self.noise((images.mean((2, 3)) * self.weight).mean(1, keepdim=True))


def test_ten_names_each_documented_and_a_light_import() -> None:
    assert 1 <= len(nt_study.__all__) <= 10 and sorted(nt_study.__all__) == nt_study.__all__
    for name in nt_study.__all__:
        assert inspect.getdoc(getattr(nt_study, name))
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    assert all(f"| `{name}" in page for name in nt_study.__all__)
    with pytest.raises(AttributeError, match="it has Model, Study"):
        nt_study.lanch  # noqa: B018
    script = "import sys, nt_study; sys.exit(','.join({'torch', 'ray', 'pandas', 'study'} & set(sys.modules)) or None)"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_tables_say_what_the_commands_say(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--studies", studies_of(study), "--json")
    found = json.loads(run_here(monkeypatch, capsys, "status", "written", *where)[1])
    trials = study.trials()
    assert list(trials["trial"]) == [trial["trial"] for trial in found["trials"]]
    assert list(trials["state"]) == ["complete", "complete", "failed", "complete"]
    assert trials.loc[2, "reason"] and pd.isna(trials["validation_srocc"][2])
    said = json.loads(run_here(monkeypatch, capsys, "front", "written", *where)[1])
    front = study.front()
    members = [point["trial"] for point in said["front"]]
    assert list(front["trial"])[: len(members)] == members and "baseline" in set(front["trial"])
    knee = front[front["role"].str.contains("knee")]
    assert list(knee["trial"]) == [said["knee"]]
    point = next(point for point in said["front"] if point["trial"] == said["knee"])
    assert knee["test_rmse_attacked"].item() == point["test"]["rmse_attacked"]
    listed = nt_study.list_studies(studies_of(study))
    assert (
        listed.to_dict("records")[0] | {"study": "written", "complete": 3, "failed": 1} == listed.to_dict("records")[0]
    )
    assert nt_study.list_studies(studies_of(study) / "none").empty


def test_a_score_table_is_the_trials_own(study: Study) -> None:
    table = study.scores("knee")
    assert list(table.columns) == SCHEMA.names and len(table) == 2 * 2 * IMAGES
    (knee,) = (row for row in study.front().to_dict("records") if "knee" in row["role"])
    assert nt_study.measure(table)["rmse_attacked"] == pytest.approx(knee["test_rmse_attacked"])


def test_plots_show_every_trial(study: Study) -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    assert study.draw(axes, split="test") is axes and axes.get_xlabel() and axes.has_data()
    drawn = [trace for trace in study.plot().data if trace.x is not None]
    shown = {point for trace in drawn for point in zip(trace.x, trace.y, strict=True)}
    complete = study.trials().query("state == 'complete'")
    points = complete[["validation_rmse_attacked", "validation_srocc"]].itertuples(index=False, name=None)
    assert set(points) <= shown


def test_a_model_scores_what_the_command_scores(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (80, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(picture)
    folder = study.export(tmp_path / "knee")
    _, out, _ = run_here(monkeypatch, capsys, "score", folder, picture, "--json")
    (said,) = json.loads(out)["scores"]
    model = study.model("knee")
    forms = [picture, str(picture), Image.open(picture), pixels, pixels / 255]
    assert model.score(forms) == pytest.approx([said["score"]] * len(forms))
    assert nt_study.load_model(folder).score(pixels) == pytest.approx([said["score"]])
    patches = torch.rand(2, 3, 64, 64, requires_grad=True)
    model(patches).sum().backward()
    assert model.score(patches).shape == (2,) and patches.grad is not None and not model.training


@pytest.mark.parametrize("name", ["fgsm", "ifgsm", "noise"])
def test_any_module_or_function_is_attacked_within_the_budget(name: str) -> None:
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    module = Brightness().train()
    adversarial = nt_study.attack(module, images, name, eps=8 / 255)
    assert (adversarial - images).abs().max() <= 8 / 255 + 1e-6 and 0 <= adversarial.min() <= adversarial.max() <= 1
    assert module.training and module.noise.training and module.weight.grad is None
    alone = torch.cat([nt_study.attack(lambda x: 100 * x.mean((1, 2, 3)), image[None], name) for image in images])
    assert alone.shape == images.shape and not torch.equal(alone, images)


def test_a_table_of_ones_own_model_is_measured_and_audited() -> None:
    pictures = np.random.default_rng(1).random((12, 16, 16, 3))
    mos = np.linspace(5, 95, 12)
    honest = nt_study.score_table(Brightness().eval(), pictures, mos, "fgsm,noise")
    assert list(honest["attack"].unique()) == ["fgsm", "noise"] and honest["max_delta"].max() <= 0.005 + 1e-6
    assert nt_study.measure(honest)["rmse_attacked"] > nt_study.measure(honest)["rmse_attacked/noise"]
    assert nt_study.audit(honest).empty

    def masked(images: Tensor) -> Tensor:
        return 100 * (images * 255).round().div(255).square().mean((1, 2, 3))  # a staircase: its gradient is 0

    doubts = nt_study.audit(nt_study.score_table(masked, pictures, mos, "fgsm,noise"))
    assert isinstance(doubts, pd.DataFrame) and "gradient of exactly zero" in doubts["message"].iloc[0]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda study: study.model("kne"), "did you mean 'knee'"),
        (lambda study: study.model("front"), "name one model"),
        (lambda study: nt_study.open_study("writen", studies_of(study)), "did you mean 'written'"),
        (lambda study: nt_study.load_model("/nowhere"), "there is no checkpoint /nowhere"),
        (lambda study: nt_study.launch("hyperqia"), "did you mean 'hyperiqa'"),
        (lambda study: nt_study.launch("hyperiqa", trails=3), "did you mean 'trials'"),
        (lambda study: nt_study.attack(Brightness(), torch.rand(1, 3, 8, 8), "fgms"), "did you mean 'fgsm'"),
        (lambda study: nt_study.attack(Brightness(), torch.rand(1, 3, 8, 8), "fgsm", epz=1), "did you mean 'eps'"),
        (lambda study: nt_study.attack(lambda x: x, torch.rand(1, 3, 8, 8)), r"one score per image, \(N,\)"),
        (lambda study: nt_study.score_table(Brightness(), [np.zeros((8, 8, 3))], [1, 2]), "one number per image"),
        (
            lambda study: nt_study.score_table(Brightness(), [np.zeros((8, 8, 3)), np.zeros((9, 9, 3))], [1, 2]),
            "of one size",
        ),
    ],
)
def test_a_mistake_is_one_sentence(study: Study, call: object, sentence: str) -> None:
    with pytest.raises((ValueError, StudyError), match=sentence) as raised:
        call(study)  # type: ignore[operator]
    assert "\n" not in str(raised.value)
