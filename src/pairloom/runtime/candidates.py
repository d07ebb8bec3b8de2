"""Choice of an implementation by measurement: candidates are timed once on this machine, and the choice is kept.

A choice is a file of the cache folder ($PAIRLOOM_CACHE, else ~/.cache/pairloom), under the processor, the versions of the
libraries and the shape. The first process to write it decides for all, so that workers of one job
compute alike. Where nothing can be written nothing is timed, and the first candidate is taken.

Does not know: networks.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from pairloom.runtime.threads import one_thread

ROUNDS = 5


def choose(shape: dict[str, Any], candidates: dict[str, Callable[[], Callable[[], Any]]]) -> str:
    """Name of the fastest of the candidates for this shape.

    A candidate is a function that builds it, outside of the time, and returns what is timed: processor seconds of one
    thread, which other jobs of the machine hardly change; the least of five interleaved rounds. Nothing is built where the
    choice is kept already, or where there is but one.
    """
    first = next(iter(candidates))
    if len(candidates) == 1:
        return first
    key = machine() | {"candidates": list(candidates), **shape}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    kept = cache_folder() / "engines" / f"{digest}.json"
    if not (kept.exists() or _writable(kept.parent)):
        return first
    choice = _read(kept, candidates)
    if choice is None:
        with one_thread():
            seconds = _seconds({name: build() for name, build in candidates.items()})
        choice = min(seconds, key=seconds.__getitem__)
        _write_first(kept, key | {"seconds": seconds, "choice": choice})
        choice = _read(kept, candidates) or choice
    return choice


def cache_folder() -> Path:
    """Where pairloom keeps what it has measured of this machine."""
    return Path(os.environ.get("PAIRLOOM_CACHE") or Path.home() / ".cache" / "pairloom")


@functools.cache
def machine() -> dict[str, str]:
    """The processor, and the versions of the libraries that compute."""
    return {"processor": _processor(), "torch": torch.__version__, "openvino": _version("openvino")}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = ("model name", "cpu family", "model\t", "flags", "Features")
    facts = sorted({line for line in lines if line.startswith(names)})
    return f"{platform.machine()} {hashlib.sha256(chr(10).join(facts).encode()).hexdigest()[:16]}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _seconds(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    least = dict.fromkeys(calls, float("inf"))
    for round_ in range(ROUNDS + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if round_:  # the first is for caches and just-in-time kernels
                least[name] = min(least[name], time.process_time() - start)
    return least


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _read(kept: Path, candidates: dict[str, Any]) -> str | None:
    """The choice in a file; None where there is none, or the file is not one of ours."""
    try:
        choice = json.loads(kept.read_text())["choice"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return choice if isinstance(choice, str) and choice in candidates else None


def _write_first(kept: Path, row: dict[str, Any]) -> None:
    """Write a file whole, unless a valid one is there: another process was first."""
    new = kept.with_suffix(f".{os.getpid()}.new")
    try:
        new.write_text(json.dumps(row, indent=1) + "\n")
        try:
            os.link(new, kept)
        except FileExistsError:
            if _read(kept, {row["choice"]: None, **dict.fromkeys(row["candidates"])}) is None:
                os.replace(new, kept)
    except OSError:
        pass
    finally:
        new.unlink(missing_ok=True)
