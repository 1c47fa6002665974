"""What `export --at` takes for a bound."""

from __future__ import annotations

import pytest

from study.errors import StudyError
from study.mixing.dial import read_wish


def test_a_wish_that_is_none_is_refused() -> None:
    objectives = ("srocc", "rmse_attacked")
    assert read_wish(" srocc >= .7", objectives).bound == 0.7
    for wrong in ("srocc", "srocc>0.7", "srocc>=x", "plcc>=0.5", "srocc<=0.7", "rmse_attacked>=5"):
        with pytest.raises(StudyError, match='write "srocc>=…" or "rmse_attacked<=…"'):
            read_wish(wrong, objectives)
