"""Rounds: several ways to do one job, timed in turn in one process, so that a busy machine is busy for all of them.

Not a benchmark itself. The first way is what the others are divided by.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch


def prepare(threads: int) -> None:
    """Quiet, offline, with so many threads."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)


def timed(
    ways: Mapping[str, Callable[[], Any]], count: int, rounds: int, seconds: float = 60.0
) -> dict[str, Any]:
    """Run every way `rounds` times in turn (fewer where `seconds` are over); print what a job of `count` items took, at
    least and in the median, and how many times as fast each is as the others. Returns what each way gave.

    Seconds are the clock's, or with one thread the processor's: these tell more on a machine that others use. The first
    round warms up; it counts where it was the fastest.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    given: dict[str, Any] = {}
    took: dict[str, list[float]] = {name: [] for name in ways}
    began = time.perf_counter()
    for done in range(rounds):
        if done and time.perf_counter() - began > seconds:
            break
        for name, way in ways.items():
            start = clock()
            given[name] = way()
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
    return given


def autocast(way: Callable[[], Any]) -> Callable[[], Any]:
    """The same under one line of bf16 autocast: what a user of the rival can have for nothing."""

    def run() -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return way()

    return run
