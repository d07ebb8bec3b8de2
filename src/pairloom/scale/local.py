"""This process, or worker processes on this machine. Workers are spawned, single-threaded, and die with their parent."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

from pairloom.errors import Mistake

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run(function: Callable[[Any], Any], items: Sequence[Any], workers: int) -> Iterator[tuple[Any, Any]]:
    """workers <= 1: one after the other, here. Otherwise at most `workers` processes, two items each in flight."""
    if workers <= 1 or len(items) <= 1:
        for item in items:
            yield item, function(item)
        return
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(
        {name: "1" for name in THREADS}
    )  # two pools that each use every core are slower than one
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(
            min(workers, len(items)), mp_context=context, initializer=_die_with_parent
        ) as pool:
            yield from _feed(pool, function, items, workers)
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _feed(
    pool: ProcessPoolExecutor, function: Callable[[Any], Any], items: Sequence[Any], workers: int
) -> Iterator[tuple[Any, Any]]:
    waiting = iter(items)
    flying = {pool.submit(function, item): item for item in islice(waiting, 2 * workers)}
    try:
        while flying:
            done, _ = wait(flying, return_when=FIRST_COMPLETED)
            for future in done:
                item = flying.pop(future)
                yield item, future.result()
                for following in islice(waiting, 1):
                    flying[pool.submit(function, following)] = following
    except BrokenProcessPool as error:
        raise Mistake(
            "A worker process was killed.",
            "Most often the machine ran out of memory, or the system stopped the process.",
            "Run the same command again to go on from the finished shards; use fewer --workers if it happens again.",
        ) from error
    finally:
        for future in flying:
            future.cancel()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()  # type: ignore[func-returns-value]
