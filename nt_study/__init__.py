"""NT Study from Python: studies, their tables and plots, models, attacks. See docs/python.md.

Importing this costs nothing; PyTorch and the rest are imported with the first name that is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nt_study.models import Model as Model
    from nt_study.models import attack as attack
    from nt_study.models import audit as audit
    from nt_study.models import load_model as load_model
    from nt_study.models import measure as measure
    from nt_study.models import score_table as score_table
    from nt_study.studies import Study as Study
    from nt_study.studies import launch as launch
    from nt_study.studies import list_studies as list_studies
    from nt_study.studies import open_study as open_study

__all__ = [
    "Model",
    "Study",
    "attack",
    "audit",
    "launch",
    "list_studies",
    "load_model",
    "measure",
    "open_study",
    "score_table",
]
_OF_STUDIES = ("Study", "launch", "list_studies", "open_study")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"nt_study has no {name!r}; it has {', '.join(__all__)}")
    from nt_study.rooms import check_rooms

    check_rooms()
    return getattr(importlib.import_module("nt_study.studies" if name in _OF_STUDIES else "nt_study.models"), name)


def __dir__() -> list[str]:
    return [*__all__]
