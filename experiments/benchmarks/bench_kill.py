"""kill -9 at random moments of `clean`, then the same command again: the same bytes as without the kill?

    python experiments/benchmarks/bench_kill.py [--moments 20] [--pairs 120] [--workers 1 2] [--seed 0]

A small set that is learnt in seconds is cleaned with the judge `self`, captions and the proof. The run without a kill is
done once for each number of workers; then it is killed at moments drawn over its whole length (a kill may come before
the first file or in the last rename) and run again. Compared are the bytes of every file of the output folder.
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

SETTINGS = dict(size=32, effort=0.02, prove=True, seeds=1, proposals=2)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--moments", type=int, default=20)
    asked.add_argument("--pairs", type=int, default=120)
    asked.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    asked.add_argument("--seed", type=int, default=0)
    told = asked.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        colours.write(root / "raw", told.pairs)
        colours.write(root / "test", 30, bad=0)
        sys.exit(bool(survive(root, told.moments, told.workers, random.Random(told.seed))))


def survive(root: Path, moments: int, workers: list[int], dice: random.Random) -> int:
    """How many of the kills left other bytes, a temporary file or a process behind."""
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
        said = one(root, f"killed-{moment}", count, after, whole[workers[0]])
        failed += said != "same bytes"
        print(f"killed at {after:5.1f} s with {count} workers: {said}", flush=True)
    print(f"{failed} of {moments} failed")
    return failed


def one(root: Path, name: str, workers: int, after: float, wanted: dict[str, bytes]) -> str:
    """Kill a run, the parent alone, and do it again. What is wrong with the result, or "same bytes"."""
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
    found = files(root / name)
    different = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    return f"DIFFERENT: {', '.join(different[:5])}" if different else "same bytes"


def start(root: Path, name: str, workers: int) -> subprocess.Popen[bytes]:
    """`clean` in a process of its own, in `root`, so that no path differs between runs."""
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
    """The processes below one."""
    try:
        found = [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:
        return []
    return found + [below for child in found for below in family_of(child)]


def alive(pid: int) -> bool:
    """Whether a process runs (a dead one that nobody has waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def files(root: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden and temporary ones too."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


if __name__ == "__main__":
    main()
