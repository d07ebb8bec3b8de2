"""Searching a million vectors, and indexing pictures: time, memory, recall; both sides of every ratio in one run.

`python experiments/benchmarks/bench_search.py vectors [--folder DIR]`: 1,000,000 x 256 random clustered vectors, memory-mapped:
our exact scan, numpy's fp32 product over the same file, and inverted lists where faiss is installed; recall@10 against fp32.
`... pictures MODEL [--count N] [--folder DIR]`: drawn pictures are indexed and searched by their texts. Memory is anonymous
memory, without mapped files. `... absent MODEL`: the rate of "no good match" for things that were left out of a drawn set,
and for things in it.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import torch

from pairloom.errors import Mistake
from pairloom.search import cells, vectors
from pairloom.search.vectors import Vectors
from pairloom.world.draw import picture
from pairloom.world.level import level_of
from pairloom.world.world import World, encode, write_tars

ROWS, WIDTH, QUERIES = 1_000_000, 256, 64
AWAY = {"purple", "white", "umbrella", "fish", "car"}  # words that fit no picture of the set
APART = {
    ("red", "ball"),
    ("blue", "cat"),
    ("green", "tree"),
    ("black", "star"),
    ("yellow", "house"),
    ("pink", "robot"),
}


def memory() -> float:
    """Anonymous memory of this process in MiB, without mapped files."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) / 1024


def milliseconds(ask: Callable[[torch.Tensor], Any], queries: torch.Tensor) -> tuple[list[float], float]:
    """Milliseconds of the queries: wall times, sorted, and the mean CPU time over all threads."""
    ask(queries[0])
    taken, busy = [], time.process_time()
    for query in queries:
        begin = time.perf_counter()
        ask(query)
        taken.append(1e3 * (time.perf_counter() - begin))
    return sorted(taken), 1e3 * (time.process_time() - busy) / len(queries)


def make(folder: Path) -> None:
    """Write random vectors around 4,096 centres, similar to the embeddings of a collection."""
    draw = numpy.random.default_rng(0)
    centres = draw.standard_normal((4096, WIDTH), dtype=numpy.float32)
    for first in range(0, ROWS, 50_000):
        part = centres[draw.integers(4096, size=50_000)]
        part = part + 0.6 * draw.standard_normal(part.shape, dtype=numpy.float32)
        part /= numpy.linalg.norm(part, axis=1, keepdims=True)
        vectors.write(folder, range(first, first + 50_000), torch.from_numpy(part))


def bench_vectors(folder: Path) -> None:
    if not (folder / vectors.FINE).exists():
        make(folder)
    held, draw = Vectors(folder, ROWS, WIDTH), torch.Generator().manual_seed(1)
    chosen = torch.randint(ROWS, (QUERIES,), generator=draw)
    noise = torch.randn(QUERIES, WIDTH, generator=draw) * 0.5 / WIDTH**0.5
    queries = torch.nn.functional.normalize(held.fine[chosen] + noise, dim=1)
    truth = [set((held.fine @ query).topk(10).indices.tolist()) for query in queries]
    table = numpy.memmap(folder / vectors.FINE, numpy.float32, "r", shape=(ROWS, WIDTH))

    def product(query: torch.Tensor) -> numpy.ndarray:
        scores = table @ query.numpy()
        best = numpy.argpartition(-scores, 10)[:10]
        return best[numpy.argsort(-scores[best])]

    searches: dict[str, Callable[[torch.Tensor], Any]] = {
        "numpy, fp32 product": product,
        "pairloom, exact scan": lambda query: held.top(query, 10)[0][:10].tolist(),
    }
    if lists := inverted(held, folder):
        searches["pairloom, inverted lists"] = lambda query: lists.top(query, 10)[0][:10].tolist()
    words = held.coarse.view(torch.int64)
    bare, busy = milliseconds(lambda query: words.sum(), queries[:16])
    print(f"{ROWS:,} x {WIDTH}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; ms a query")
    print(
        f"  {'a bare sum over vectors.bf16':28s} median {bare[len(bare) // 2]:7.2f}  best {bare[0]:7.2f}  processor {busy:7.2f}"
    )
    base = None
    for name, ask in searches.items():
        before = memory()
        taken, busy = milliseconds(ask, queries)
        recall = statistics.mean(
            len(set(map(int, ask(query))) & best) / 10 for query, best in zip(queries, truth)
        )
        base = base or taken[len(taken) // 2]
        times = base / taken[len(taken) // 2]
        print(
            f"  {name:28s} median {taken[len(taken) // 2]:7.2f}  best {taken[0]:7.2f}  processor {busy:7.2f}  {times:6.1f}x  "
            f"recall@10 {recall:.4f}  {memory() - before:+.0f} MiB"
        )


def inverted(held: Vectors, folder: Path) -> cells.Cells | None:
    """The inverted lists, which are built where they are missing; None without faiss."""
    description = folder / "lists.json"
    try:
        if not description.exists():
            begin = time.perf_counter()
            facts = {**cells.make(held, folder / cells.FILE), "seconds": time.perf_counter() - begin}
            description.write_text(json.dumps(facts))
        facts = json.loads(description.read_text())
        print(f"inverted lists: {facts}")
        return cells.Cells(folder / cells.FILE, held, facts["probes"])
    except Mistake as mistake:
        print(mistake)
        return None


def bench_pictures(where: Path, count: int, folder: Path) -> None:
    """Index `count` drawn pictures, then search them by their texts."""
    import pairloom
    from pairloom import search
    from pairloom.data.shards import open_set
    from pairloom.search.filling import fill

    world = World(count, seed=5, level="simple", styles=("terse", "full"))
    if not (folder / "set").exists():
        write_tars(world, folder / "set")
    shutil.rmtree(folder / "index", ignore_errors=True)
    memories: list[float] = []
    model = pairloom.load(where)
    begin = time.perf_counter()
    done = fill(
        open_set(folder / "set"),
        model,
        str(where),
        folder / "index",
        tell=lambda *_: memories.append(memory()),
    )
    spent = time.perf_counter() - begin
    print(f"{done.pictures:,} pictures in {spent:.0f} s ({done.pictures / spent:.0f}/s)")
    print(
        f"  anonymous memory after a tenth {memories[len(memories) // 10]:.0f} MiB, highest {max(memories):.0f}, at the end {memory():.0f}"
    )
    size = sum(file.stat().st_size for file in (folder / "index").iterdir())
    print(f"  on disk {size / 2**20:.0f} MiB, {size / done.pictures:.0f} bytes a picture; line {done.line}")
    begin = time.perf_counter()
    again = fill(open_set(folder / "set"), model, str(where), folder / "index")
    print(f"  a second run: {time.perf_counter() - begin:.0f} s, {again.added} new")
    index = search.open(folder / "index", model)
    texts = [world.row(at).text for at in random.Random(0).sample(range(count), 50)]
    index.search(texts[0])
    taken = []
    for text in texts:
        begin = time.perf_counter()
        index.search(text)
        taken.append(1e3 * (time.perf_counter() - begin))
    print(f"  a search by words, model and SQLite included: median {sorted(taken)[25]:.1f} ms")


def bench_absent(where: Path, folder: Path, count: int = 4000) -> None:
    """Rate of "no good match" for things of which both words, one word, or only their combination were left out of a drawn
    set."""
    import pairloom
    from pairloom import search
    from pairloom.data.shards import open_set
    from pairloom.search.filling import fill

    world = World(count, seed=6, level="simple", styles=("terse", "full"))
    shutil.rmtree(folder / "some", ignore_errors=True)
    shutil.rmtree(folder / "absent", ignore_errors=True)
    (folder / "some").mkdir(parents=True)
    things: Counter[tuple[str, str]] = Counter()
    for row in world.rows():
        held = {(one.colour, one.kind) for one in row.scene.things}
        if not any(
            colour in AWAY or kind in AWAY or pair in APART for pair in held for colour, kind in [pair]
        ):
            (folder / "some" / f"{row.name}.jpg").write_bytes(encode(picture(row.scene, 64)))
            (folder / "some" / f"{row.name}.txt").write_text(row.text)
            things.update(held)
    model = pairloom.load(where)
    done = fill(open_set(folder / "some"), model, str(where), folder / "absent")
    index = search.open(folder / "absent", model)
    level = level_of("simple")
    groups: dict[str, list[bool | None]] = {}
    for colour, kind in itertools.product(level.colours, level.kinds):
        away = (colour in AWAY) + (kind in AWAY)
        name = f"{('both words known', 'one word absent', 'both words absent')[away]}, {'there' if things[colour, kind] else 'not there'}"
        groups.setdefault(name, []).append(index.search(f"a {colour} {kind}").good)
    print(f"{done.pictures:,} pictures; line {done.line}")
    for name, verdicts in sorted(groups.items()):
        print(f"  {name:28s} no good match is said of {verdicts.count(False):2d} of {len(verdicts)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["vectors", "pictures", "absent"])
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if args.what == "vectors":
            bench_vectors(folder)
        elif args.what == "pictures":
            bench_pictures(args.model, args.count, folder)
        else:
            bench_absent(args.model, folder)


if __name__ == "__main__":
    main()
