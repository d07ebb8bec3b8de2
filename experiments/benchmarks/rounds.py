"""Timing of several functions that do the same job, in turn in one process, so that other load on the machine affects all of
them. Ratios are to the first function.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch


def prepare(threads: int) -> None:
    """Set up a benchmark process: quiet, offline, with this many threads."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)


def timed(
    ways: Mapping[str, Callable[[], Any]], count: int, rounds: int, seconds: float = 60.0
) -> dict[str, Any]:
    """Run every function `rounds` times in turn (fewer where `seconds` have passed); print the least and the median time of a
    job of `count` items, and the ratios. Returns the result of each function.

    Times are wall seconds, or with one thread CPU seconds, which are more reliable on a shared machine. The first round is a
    warm-up; it counts where it is the fastest.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    results: dict[str, Any] = {}
    took: dict[str, list[float]] = {name: [] for name in ways}
    began = time.perf_counter()
    for done in range(rounds):
        if done and time.perf_counter() - began > seconds:
            break
        for name, way in ways.items():
            start = clock()
            results[name] = way()
            took[name].append(clock() - start)
    kind = "CPU s" if clock is time.process_time else "s"
    rivals = [name for name in ways if not name.startswith("pairloom")]
    print(
        f"  {'':28s}{f'least {kind}':>12s}{'median':>10s}{'a second':>10s}   times as fast as {' | '.join(rivals)}"
    )
    for name, times in took.items():
        least, median = min(times), sorted(times)[len(times) // 2]
        ratios = " | ".join(f"{min(took[rival]) / least:.2f}" for rival in rivals)
        print(f"  {name:28s}{least:12.3f}{median:10.3f}{count / least:10.2f}   {ratios}")
    print(f"  {len(times)} rounds, load {os.getloadavg()[0]:.1f}", flush=True)
    return results


def autocast(way: Callable[[], Any]) -> Callable[[], Any]:
    """The function under bf16 autocast, which any user of the other library can add in one line."""

    def run() -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return way()

    return run
