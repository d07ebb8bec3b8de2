"""Peak memory of the parent process of `clean --model MODEL --no-captions` by the size of the set.

    python experiments/benchmarks/bench_memory.py [PAIRS ...] [--workers 2] [--per-shard 1000] [--size 32]

Each number of pairs is drawn as tars of small pictures (the drawn world, 30 % of the texts spoiled), and cleaned in a
process of its own with an untrained CLIP of its preset `tiny` as the judge. Printed for each: the parent's peak (VmHWM),
that of the largest worker, seconds, and the largest pickled task; then every peak over the first one.
"""

from __future__ import annotations

import argparse
import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pairloom.scale import Execution


class Measured(Execution):
    """Execution that records the size of its largest pickled task."""

    def run(self, function, items):  # type: ignore[no-untyped-def]
        for item in items:
            LARGEST[0] = max(LARGEST[0], len(pickle.dumps(item)))
        return super().run(function, items)


LARGEST = [0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--per-shard", type=int, default=1000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside is not None:
        return measure(args.inside, args.workers, args.size)
    peaks = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for pairs in args.pairs:
            draw(root / str(pairs), pairs, args.per_shard, args.size)
            call = [sys.executable, __file__, "--inside", str(root / str(pairs))]
            call += ["--workers", str(args.workers), "--size", str(args.size)]
            numbers = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
            peaks.append(numbers["parent_mb"])
            print(pairs, json.dumps(numbers), flush=True)
    print("over the first:", *(f"{peak / peaks[0]:.3f}" for peak in peaks))


def draw(root: Path, pairs: int, per_shard: int, size: int) -> None:
    """Draw the set as tars, and save an untrained model with a tokenizer of its words."""
    from pairloom.data.shards import open_set, save_set
    from pairloom.data.tokens import Tokens
    from pairloom.model import build, save
    from pairloom.world import World, write_folder

    world = World(pairs, seed=0, level="simple", size=size, styles=("terse", "full"), noise=0.3)
    write_folder(world, root / "folder")
    saved = save_set(open_set(root / "folder").pairs(), root / "raw", "webdataset", size=per_shard)
    texts = (text.text for pair, _ in zip(saved.pairs(), range(1000)) for text in pair.texts)
    model = build("clip", Tokens.train(texts, 500), "tiny", (f"image_size={size}",), seed=0)
    save(model, root / "model")


def measure(root: Path, workers: int, size: int) -> None:
    """Run `clean` in this process, and print its measurements."""
    from pairloom.clean.plan import CleanSettings
    from pairloom.clean.run import clean

    began = time.perf_counter()
    settings = CleanSettings(model=str(root / "model"), captions=False, size=size)
    clean(root / "raw", root / "out", settings, execution=Measured(workers=workers))
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(json.dumps({
        "parent_mb": round(int(status["VmHWM"].split()[0]) / 1024, 1), "worker_mb": round(worker, 1),
        "seconds": round(time.perf_counter() - began), "largest_task": LARGEST[0],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
