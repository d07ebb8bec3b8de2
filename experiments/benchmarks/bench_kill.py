"""Crash safety of `clean`: kill -9 at random moments, run the same command again, and compare all bytes with a run without a
kill.

    python experiments/benchmarks/bench_kill.py [--moments 20] [--pairs 120] [--workers 1 2] [--seed 0] [--repair] [--merge-copies]

A small set is cleaned with the judge `self`, captions and the proof, which trains for seconds. There is one run without a
kill for each number of workers; then runs are killed at random moments of their whole length (also before the first file and
in the last rename) and repeated. The bytes of every file of the output folder are compared. With --repair or --merge-copies the
set has texts to repair and copies of pictures too.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "clean"))
import colours  # noqa: E402
from PIL import Image  # noqa: E402

SETTINGS = dict(size=32, effort=0.02, prove=True, seeds=1, proposals=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=120)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("--merge-copies", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        colours.write(root / "raw", args.pairs)
        colours.write(root / "test", 30, bad=0)
        SETTINGS.update(repair=args.repair, merge_copies=args.merge_copies)
        if args.repair or args.merge_copies:
            spoil(root / "raw")
        sys.exit(bool(survive(root, args.moments, args.workers, random.Random(args.seed))))


def spoil(folder: Path) -> None:
    """Markup in every fifth text of a folder, and a smaller copy of every sixth picture with a text of its own."""
    for number, picture in enumerate(sorted(folder.glob("*.png"))):
        text = picture.with_suffix(".txt")
        if number % 6 == 0:
            copy = folder / f"copy-{picture.name}"
            with Image.open(picture) as image:
                image.resize((image.width - 8, image.height - 8)).save(copy)
            copy.with_suffix(".txt").write_text(f"another text of {text.read_text()}")
        if number % 5 == 0:
            text.write_text(f"<b>{text.read_text().strip()}</b> &amp; more")


def survive(root: Path, moments: int, workers: list[int], dice: random.Random) -> int:
    """Number of kills after which bytes differ, or a temporary file or a process remains."""
    took, whole = {}, {}
    for count in workers:
        began = time.monotonic()
        start(root, f"whole-{count}", count).wait()
        took[count] = time.monotonic() - began
        whole[count] = files(root / f"whole-{count}")
        same = "the same bytes as" if whole[count] == whole[workers[0]] else "OTHER BYTES THAN"
        print(
            f"{count} workers: {took[count]:.0f} s, {len(whole[count])} files, {same} {workers[0]}",
            flush=True,
        )
    failed = sum(whole[count] != whole[workers[0]] for count in workers)
    for moment in range(moments):
        count = workers[moment % len(workers)]
        after = dice.uniform(0, took[count])
        outcome = one(root, f"killed-{moment}", count, after, whole[workers[0]])
        failed += outcome != "same bytes"
        print(f"killed at {after:5.1f} s with {count} workers: {outcome}", flush=True)
    print(f"{failed} of {moments} failed")
    return failed


def one(root: Path, name: str, workers: int, after: float, wanted: dict[str, bytes]) -> str:
    """Kill a run (its parent process alone) and repeat it. Returns the fault of the result, or "same bytes"."""
    process = start(root, name, workers)
    time.sleep(after)
    family = [process.pid, *family_of(process.pid)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    for _ in range(100):
        left = [pid for pid in family if alive(pid)]
        if not left:
            break
        time.sleep(0.1)
    if left:
        return f"ORPHANS {left}"
    if start(root, name, workers).wait():
        return "THE SECOND RUN FAILED"
    contents = files(root / name)
    different = sorted(key for key in contents.keys() | wanted.keys() if contents.get(key) != wanted.get(key))
    return f"DIFFERENT: {', '.join(different[:5])}" if different else "same bytes"


def start(root: Path, name: str, workers: int) -> subprocess.Popen[bytes]:
    """Start `clean` in a process of its own, in `root`, so that no path differs between runs."""
    call = (
        "from pairloom.clean.run import clean; from pairloom.clean.plan import CleanSettings\n"
        "from pairloom.scale import Execution\n"
        f"if __name__ == '__main__': clean('raw', {name!r}, CleanSettings(test='test', **{SETTINGS}), execution=Execution(workers={workers}))\n"
    )
    script = root / f"{name}.py"
    script.write_text(call)
    return subprocess.Popen(
        [sys.executable, str(script)], cwd=root, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def family_of(parent: int) -> list[int]:
    """The ids of all descendants of a process."""
    try:
        children = [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:
        return []
    return children + [below for child in children for below in family_of(child)]


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def files(root: Path) -> dict[str, bytes]:
    """Contents of every file below a folder, hidden and temporary ones included."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


if __name__ == "__main__":
    main()
