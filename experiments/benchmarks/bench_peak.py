"""Throughput of the image tower (ViT-B/16) relative to the machine's fastest matrix products, in the same type and run.

    python experiments/benchmarks/bench_peak.py --threads 2

The peak is the fastest of a few large products by torch, with prepacked weights or not. The tower's operations are counted by
torch's FlopCounterMode (matrix products alone, without norms, GELU and softmax).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from published import pair
from rounds import prepare
from torch.utils.flop_counter import FlopCounterMode

from pairloom.runtime.engine import engine
from pairloom.runtime.prepacked import PrepackedLinear

SHAPES = ((2048, 2048, 2048), (1154, 768, 3072), (4616, 768, 3072), (2308, 3072, 768))


def least(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Least seconds of each function, run in turn; CPU seconds with one thread (see rounds.py)."""
    seconds = dict.fromkeys(ways, float("inf"))
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for _ in range(rounds):
        for name, way in ways.items():
            start = clock()
            way()
            seconds[name] = min(seconds[name], clock() - start)
    return seconds


def products(dtype: torch.dtype) -> dict[str, tuple[float, Callable[[], Any]]]:
    """Matrix products by name: GFLOP and the function."""
    table: dict[str, tuple[float, Callable[[], Any]]] = {}
    for rows, inner, outer in SHAPES:
        x, weight = torch.randn(rows, inner, dtype=dtype), torch.randn(outer, inner, dtype=dtype)
        packed = PrepackedLinear(weight, None, dtype)
        work = 2e-9 * rows * inner * outer
        table[f"{rows} x {inner} x {outer}"] = work, lambda x=x, weight=weight: x @ weight.T
        table[f"{rows} x {inner} x {outer} packed"] = work, lambda x=x, packed=packed: packed(x)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in dict(rounds=12, threads=2, size=384).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    prepare(args.threads)
    plain = pair("retrieval", args.size)[1].towers.image
    for speed, dtype in (("exact", torch.float32), ("fast", torch.bfloat16)):
        table, towers = products(dtype), {}
        tower = engine(torch.nn.ModuleDict({"tower": plain}), speed)["tower"]
        for count in (1, 4):
            images = torch.randn(count, 3, args.size, args.size)
            with FlopCounterMode(display=False) as counter:
                plain(images)
            towers[f"tower, {count} at a time"] = (
                counter.get_total_flops() / 1e9, partial(tower, images)
            )  # fmt: skip
        work = {name: entry[0] for name, entry in {**table, **towers}.items()}
        times = least({name: entry[1] for name, entry in {**table, **towers}.items()}, args.rounds)
        rates = {name: work[name] / times[name] for name in times}
        best = max(table, key=lambda name: rates[name])
        print(f"{speed} ({dtype}): peak {rates[best]:.0f} GF/s ({best})")
        for name in towers:
            print(f"  {name}: {rates[name]:.0f} GF/s, {rates[name] / rates[best]:.0%} of the peak")


if __name__ == "__main__":
    main()
