"""The model that docs/extending.md adds works as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import test_scorer
import torch

from trainables.models import MODELS, create_model

GUIDE = Path(__file__).parent.parent.parent / "docs" / "extending.md"


def test_the_guides_model_is_one_file_and_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    file = re.findall(
        r"```python\n# trainables/models/tiny\.py\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL
    )
    tiny = ModuleType("tiny")
    exec(file[0], tiny.__dict__)
    monkeypatch.setitem(sys.modules, "trainables.models.tiny", tiny)
    monkeypatch.setitem(MODELS, "tiny", "trainables.models.tiny")
    model = create_model("tiny", size="small")
    scores = model(torch.rand(4, 3, 64, 64))
    assert scores.shape == (4,)
    assert scores.std() > 0
    assert len(model.parameter_groups()["head"]) == 4
    test_scorer.test_a_small_model_can_be_trained("tiny")  # the others take longer: tests/docs runs them all
