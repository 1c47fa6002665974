"""Numbers as people write them in files and on command lines: 0.005, 5e-3, 8/255."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Annotated, Any


def number(value: object) -> float:
    """`value`, a number or its text, also as a fraction; ValueError for anything else, NaN and infinities included."""
    try:
        found = _of_text(value) if isinstance(value, str) else _of_number(value)
    except (ValueError, ArithmeticError):
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"expected a number such as 0.005, 5e-3 or 8/255, got {value!r}")
    return found


def whole_number(value: object) -> int:
    """As `number`, for counts and the like: 3, 3.0 and "3" are 3, and ValueError says so of 2.5."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = number(value)
    if not found.is_integer():
        raise ValueError(f"expected a whole number, got {value!r}")
    return int(found)


def _of_text(text: str) -> float:
    above, is_fraction, below = text.partition("/")
    return float(above) / float(below) if is_fraction else float(text)


def _of_number(value: object) -> float:
    # `true` is 1 to Python, and a slip in a file.
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan


class _Reads:
    """Makes pydantic read a field with `read` first; to everyone else the field is a plain float or int.

    A JSON schema says so: a number, or its text.
    """

    def __init__(self, read: Callable[[object], float]) -> None:
        self.read = read

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # only pydantic calls this

        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        plain: dict[str, Any] = handler(core_schema)
        return {**plain, "type": [plain["type"], "string"]}


Real = Annotated[float, _Reads(number)]
Whole = Annotated[int, _Reads(whole_number)]
