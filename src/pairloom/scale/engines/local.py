"""Local engine: this process, or worker processes on this machine. Workers are spawned, have one thread each, and end with
their parent.

A user's script needs no `if __name__ == "__main__"`: workers import it only where a task refers to its definitions.

Where there are several items, this process also uses one thread for each: the order of sums, and so the last bits of every
result, then do not depend on the number of workers.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing.reduction import ForkingPickler
from types import ModuleType
from typing import Any

from pairloom.errors import Mistake

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run(function: Callable[[Any], Any], items: Sequence[Any], workers: int) -> Iterator[tuple[Any, Any]]:
    """Run a function on every item, and yield (item, result). workers <= 1: one item after the other in this process.
    Otherwise at most `workers` processes, each with two items in flight."""
    if len(items) <= 1:
        for item in items:
            yield item, function(item)
        return
    with _one_thread():
        if workers <= 1:
            for item in items:
                yield item, function(item)
        else:
            yield from _with_pool(function, items, min(workers, len(items)))


def run_apart(function: Callable[[Any], Any], item: Any) -> Any:
    """The result of a function of one item, from a process that ends with it."""
    with _one_thread():
        return [result for _, result in _with_pool(function, [item], 1)][0]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit torch to one thread in this process, where torch is loaded, and in all processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in THREADS}
    torch: Any = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch is not None else 0
    os.environ.update(dict.fromkeys(THREADS, "1"))
    if torch is not None:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        if torch is not None:
            torch.set_num_threads(threads)


def _with_pool(
    function: Callable[[Any], Any], items: Sequence[Any], workers: int
) -> Iterator[tuple[Any, Any]]:
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_serve)
    try:
        yield from _feed(pool, function, items, workers)
    except BrokenProcessPool as error:
        if _names_main(function, items[0]):
            raise Mistake(
                "A worker process could not begin.",
                "It imports your script for what your script defines, and the script starts workers again.",
                'Put what the script runs under `if __name__ == "__main__":`, or use workers=1.',
            ) from error
        raise Mistake(
            "A worker process was killed.",
            "Most often the machine ran out of memory, or the system stopped the process.",
            "Run the same command again to go on from the finished shards; use fewer --workers if it happens again.",
        ) from error
    except (
        BaseException
    ):  # the caller has stopped reading: do not wait for a worker in the middle of hours of training
        for child in set(multiprocessing.active_children()) - others:
            child.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _feed(
    pool: ProcessPoolExecutor, function: Callable[[Any], Any], items: Sequence[Any], workers: int
) -> Iterator[tuple[Any, Any]]:
    waiting = iter(items)
    flying = {_submit(pool, function, item): item for item in islice(waiting, 2 * workers)}
    while flying:
        done, _ = wait(flying, return_when=FIRST_COMPLETED)
        for future in done:
            item = flying.pop(future)
            yield item, future.result()
            for following in islice(waiting, 1):
                flying[_submit(pool, function, following)] = following


def _submit(pool: ProcessPoolExecutor, function: Callable[[Any], Any], item: Any) -> Future[Any]:
    """Hand in a task. A worker that this starts imports the main script only where the task names something in it."""
    if _names_main(function, item):
        return pool.submit(function, item)
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        return pool.submit(function, item)
    finally:
        sys.modules["__main__"] = main


def _names_main(function: Callable[[Any], Any], item: Any) -> bool:
    """Whether a task is made of what the main script defines."""
    return b"__main__" in bytes(ForkingPickler.dumps((function, item)))


def _serve() -> None:
    """Set up a worker: it ignores Ctrl-C, which its parent handles, and ends when its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()  # type: ignore[func-returns-value]
