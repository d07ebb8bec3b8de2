"""Ahead: threads make the next items while the last ones are used. The order stays; nothing is made twice or too early.

For work that leaves the interpreter alone, as decoding pictures does. Does not know: what is made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def ahead(make: Callable[[A], B], items: Iterable[A], workers: int = 2, most: int = 32) -> Iterator[B]:
    """map(make, items) with at most `most` results made and not yet asked for. What `make` raises is raised in its turn.

    The items themselves are taken in the caller's thread."""
    with ThreadPoolExecutor(workers, thread_name_prefix="pairloom-ahead") as pool:
        waiting: deque[Future[B]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
