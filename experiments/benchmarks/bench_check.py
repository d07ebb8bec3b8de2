"""`check` on tars: peak memory by the size of the set, and throughput relative to a plain decode loop.

    python experiments/benchmarks/bench_check.py [PAIRS ...] [--where DIR] [--workers N] [--size PIXELS] [--times N]

The largest number of pairs is drawn once (256 px, img2dataset's default, 30 % of the texts noise), and each number of pairs
is measured on that many of the tars. The "bare" loop is the usual one: tarfile, PIL, every picture decoded at full size,
without hash, text or check. The "barest" loop reads the tars with pairloom's reader, four times as fast as tarfile. All sides
use the same processes and files, in turns; peak memory is the sum over the parent and its workers, from /proc.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image

from pairloom import scale
from pairloom.clean.audit_set import check
from pairloom.data.formats._tar import members
from pairloom.data.shards import Shard, open_set
from pairloom.world import World, write_tars

PARTS, PER_SHARD = 2, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--where", type=Path, help="where the tars are kept for the next time")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--side", choices=SIDES)  # one measured process
    args = parser.parse_args()
    if args.side:
        SIDES[args.side](args.where, args.workers)
        return
    with tempfile.TemporaryDirectory() as temporary:
        where = args.where or Path(temporary)
        tars = draw(where, max(args.pairs), args.size)
        print(f"{args.size} px, {args.workers} workers, {os.cpu_count()} cores")
        for pairs in sorted(args.pairs):
            part = Path(temporary) / str(pairs)
            part.mkdir()
            for tar in tars[: max(1, pairs // PER_SHARD)]:
                (part / tar.name).symlink_to(tar)
            report(part, pairs, args.workers, args.times)


def draw(where: Path, pairs: int, size: int) -> list[Path]:
    """The tars of the world, drawn by two processes; existing ones are reused."""
    folder = where / f"{pairs}-{size}px"
    worlds = [World(pairs // PARTS, seed=part, size=size, noise=0.3) for part in range(PARTS)]
    todo = [
        (world, folder / str(part)) for part, world in enumerate(worlds) if not (folder / str(part)).exists()
    ]
    with ProcessPoolExecutor(PARTS) as pool:
        list(pool.map(write_tars, *zip(*todo)) if todo else ())
    names = sorted(folder.glob("*/*.tar"), key=lambda tar: (tar.name, tar.parent.name))
    tars = []
    for number, tar in enumerate(names):
        link = folder / "all" / f"{number:05d}.tar"
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        os.link(tar, link)
        tars.append(link.resolve())
    return tars


def bare(where: Path, workers: int) -> None:
    """The plain decode loop, with tarfile, on the same engine."""
    for _ in scale.run(decode, open_set(where).shards, workers):
        pass


def barest(where: Path, workers: int) -> None:
    """The plain decode loop, with pairloom's tar reader."""
    for _ in scale.run(walk, open_set(where).shards, workers):
        pass


def decode(shard: Shard) -> int:
    count = 0
    with tarfile.open(shard.file) as tar:
        for member in tar:
            if member.name.endswith(".jpg"):
                file = tar.extractfile(member)
                assert file is not None
                Image.open(file).load()
                count += 1
    return count


def walk(shard: Shard) -> int:
    count = 0
    with open(shard.file, "rb") as file:
        for member in members(shard.file):
            if member.name.endswith(".jpg"):
                data = os.pread(file.fileno(), member.size, member.offset)
                Image.open(io.BytesIO(data)).load()
                count += 1
    return count


def checked(where: Path, workers: int) -> None:
    check(open_set(where), scale.Execution(workers=workers))


SIDES = {"check": checked, "bare": bare, "barest": barest}


def report(where: Path, pairs: int, workers: int, times: int) -> None:
    took: dict[str, list[tuple[float, float, float]]] = {side: [] for side in SIDES}
    for _ in range(times):
        for side in SIDES:
            took[side].append(measure(side, where, workers))
    rates = {side: statistics.median(pairs / wall for wall, _, _ in rows) for side, rows in took.items()}
    each = {side: statistics.median(cpu / pairs * 1e3 for _, cpu, _ in rows) for side, rows in took.items()}
    peak = max(peak for _, _, peak in took["check"])
    print(f"{pairs:>7,} pairs: peak memory of check {peak:.0f} MiB")
    for side in SIDES:
        share = f"check has {rates['check'] / rates[side]:.0%} of it, {each[side] / each['check']:.0%} by processor time"
        print(
            f"  {side:<7} {rates[side]:>7,.0f} pairs/s, {each[side]:.3f} ms of processor a pair"
            + (f"; {share}" if side != "check" else ""),
            flush=True,
        )


def measure(side: str, where: Path, workers: int) -> tuple[float, float, float]:
    """Run one side in a process of its own: wall seconds, CPU seconds, peak memory in MiB."""
    command = [sys.executable, __file__, "--side", side, "--where", str(where), "--workers", str(workers)]
    before, began = os.times(), time.monotonic()
    process = subprocess.Popen(command)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, sum(map(resident, [process.pid, *children(process.pid)])))
        time.sleep(0.1)
    wall, after = time.monotonic() - began, os.times()
    if process.returncode:
        sys.exit(f"{side} failed")
    used = (after.children_user + after.children_system) - (before.children_user + before.children_system)
    return wall, used, peak


def children(parent: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:
        return []


def resident(process: int) -> float:
    """Memory of a process in MiB (PSS: shared pages count by their share)."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


if __name__ == "__main__":
    main()
