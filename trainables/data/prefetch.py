"""The next batches made while the last one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

AHEAD = 3
"""Items made before they are asked for."""


def prefetched(items: Iterable[Item]) -> Iterator[Item]:
    """The same items in the same order, made by one thread that is `AHEAD` of them. Its errors are raised in turn."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as maker:
        waiting = deque(maker.submit(next, iterator, end) for _ in range(AHEAD))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(maker.submit(next, iterator, end))
            yield item  # type: ignore[misc]  # `end` is no item
