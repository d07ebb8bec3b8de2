"""Parallel execution of one function over the shards of a set: in this process, on local workers, later on a cluster.

An engine is a file of engines/ with `run(function, items, workers)`, which yields (item, result) in any order, and
`run_apart(function, item)`, which has one item done in a process that ends with it. The function
must be importable, take one item, write its own output atomically, and derive every name and seed from the item's content:
the same plan then gives the same bytes on every engine and after any kill.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pairloom import registry

Item = TypeVar("Item")


def run(
    function: Callable[[Item], Any], items: Sequence[Item], workers: int = 1, engine: str = "local"
) -> Iterator[tuple[Item, Any]]:
    """Run a function on every item, and yield (item, function(item)) as they finish. An exception of the function is raised
    here."""
    return registry.find("scale.engines", engine).run(function, items, workers)


def worker_count(wanted: int, items: int) -> int:
    """Number of processes: `wanted` where it is not 0, else one for each core where there are enough items."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return wanted or (1 if items < 3 else min(cores, items))


@dataclass(frozen=True)
class Execution:
    """Execution settings: the engine that runs a job's tasks, and how many workers it has.

    The command, or the caller of a job, creates them once and passes them to every step.
    """

    engine: str = "local"
    workers: int = 1

    def run(self, function: Callable[[Item], Any], items: Sequence[Item]) -> Iterator[tuple[Item, Any]]:
        """Run a function on every item, and yield (item, function(item)) as they finish."""
        return run(function, items, self.workers, self.engine)

    def run_apart(self, function: Callable[[Item], Any], item: Item) -> Any:
        """The result of a function of one item, in a process of its own, whose memory goes back to the system with it."""
        return registry.find("scale.engines", self.engine).run_apart(function, item)
