"""Which studies may be laid beside each other: the one rule for comparisons, reports and tables."""

from __future__ import annotations

from collections.abc import Sequence


def require_same_data(named: Sequence[tuple[str, str]]) -> None:
    """Raise ValueError, naming two, where not all of these names go with the same fingerprint of images and split.

    An empty fingerprint is an unknown one, which compares with nothing.
    """
    (first, expected), *others = named
    for name, data in others:
        if not (data and expected):
            raise ValueError(
                f"which images {name if expected else first} was measured on is not known, because its "
                "environment.json does not say it; it can only be shown alone"
            )
        if data != expected:
            raise ValueError(
                f"{first} and {name} were measured on different data sets or splits "
                f"({expected}, {data}); they cannot be compared: report them separately"
            )
