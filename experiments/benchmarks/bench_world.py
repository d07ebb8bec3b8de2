"""Speed of the drawn world on one core: scenes per second that are sampled, drawn, captioned and parsed.

    python experiments/benchmarks/bench_world.py [--scenes 3000]

The requirement is 2,000 simple scenes per second at 64 px, sampling included.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pairloom.world import World, caption, draw, negatives, read, sample, write_tars
from pairloom.world.level import LEVELS


def rate(work: Callable[[int], object], count: int, rounds: int = 3) -> float:
    """Calls per second: the best of the rounds, since the machine may be shared; a tenth of the calls first warm up."""
    for index in range(count // 10):
        work(index)
    best = 0.0
    for number in range(rounds):
        start = time.process_time()
        for index in range(number * count, (number + 1) * count):
            work(index)
        best = max(best, count / (time.process_time() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=3000)
    count = parser.parse_args().scenes
    rows: dict[str, float] = {}
    for level in LEVELS:
        rows[f"sample + draw {level} 64 px"] = rate(lambda i, level=level: draw(sample(i, level), 64), count)
    for size, share in ((32, 1), (160, 5), (224, 8), (512, 40)):
        rows[f"sample + draw full {size} px"] = rate(
            lambda i, size=size: draw(sample(i), size), count // share
        )
    scenes = [sample(index) for index in range(count)]
    rows["sample full"] = rate(sample, count)
    rows["caption full"] = rate(lambda i: caption(scenes[i % count]), count)
    rows["read full"] = rate(lambda i: read(caption(scenes[i % count]), scenes[i % count]), count // 2)
    rows["hard negatives of one scene"] = rate(lambda i: negatives(scenes[i % count]), count // 5)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        write_tars(World(count, level="simple", noise=0.3), Path(folder) / "tars")
        rows["pairs written to tars, simple 64 px, noise 0.3"] = count / (time.process_time() - start)
    for name, value in rows.items():
        print(f"{name:48s} {value:10,.0f} / s")
    print(json.dumps({name: round(value) for name, value in rows.items()}))


if __name__ == "__main__":
    main()
