"""Files as nobody should write them: each setting of a JSON file replaced by what it cannot be, each tensor of a file of weights by
one that does not fit, files cut off or emptied.

Whatever is done to a file, a loader either loads it or raises a Mistake in full sentences: soon, and without asking for memory
that no model of the file's size needs.
"""

from __future__ import annotations

import copy
import json
import random
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pairloom.errors import Mistake

SECONDS, ROOM = 60, 3 << 30
ABSENT = object()
VALUES: dict[str, Any] = {
    "missing": ABSENT, "null": None, "empty list": [], "list": [3, "x", None], "text": "many", "empty text": "", "negative": -1,
    "zero": 0, "huge": 10**9, "fraction": 2.5, "not a number": float("nan"), "nested": {"a": {"b": []}}, "true": True,
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One change of a file in a folder. path: of the keys in its JSON, or the name of a tensor; empty: the file itself."""

    file: str
    path: tuple[str | int, ...]
    kind: str

    def __str__(self) -> str:
        return f"{self.file}:{'.'.join(map(str, self.path))} {self.kind}"


def keys_in(
    document: Any, path: tuple[str | int, ...] = (), deep: int = 4
) -> Iterator[tuple[str | int, ...]]:
    """The paths of all settings of a JSON document; of a list its first entry alone."""
    entries = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document[:1])
        if isinstance(document, list)
        else ()
    )
    for key, value in entries:
        yield (*path, key)
        if len(path) + 1 < deep:
            yield from keys_in(value, (*path, key), deep)


TENSORS: dict[str, Callable[[Tensor], Tensor]] = {
    "cut short": lambda one: one[: len(one) // 2] if one.ndim else one[None],
    "without numbers": lambda one: one.flatten()[:0],
    "a single number": lambda one: torch.tensor(1.0),
    "an axis more": lambda one: one[None],
    "whole numbers": lambda one: one.to(torch.int8),
    "flat": lambda one: one.flatten(),
}
WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".model")


def tensor_changes(where: Path, file: str) -> list[Change]:
    """Every change of each tensor in a file of weights: taken out, or replaced."""
    names = _tensors_in(where / file)
    return [Change(file, (name,), kind) for name in names for kind in ("taken out", *TENSORS)]


def _tensors_in(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        return load_file(file)
    stored: dict[str, Any] = torch.load(file, weights_only=True)
    return stored.get("model", stored)


def _with_tensor_changed(file: Path, change: Change) -> None:
    tensors, name = _tensors_in(file), str(change.path[0])
    if change.kind == "taken out":
        del tensors[name]
    else:
        tensors[name] = TENSORS[change.kind](tensors[name]).clone()
    if file.suffix == ".safetensors":
        save_file(tensors, file)
    else:
        torch.save(tensors, file)


def changes_of(where: Path, file: str, deep: int = 4) -> list[Change]:
    """Every change of a file: of each of its settings, and of the file as a whole."""
    whole = [Change(file, (), kind) for kind in ("absent", "empty", "cut off", "garbage")]
    if not file.endswith(".json"):
        return whole
    document = json.loads((where / file).read_text("utf-8"))
    whole += [Change(file, (), kind) for kind in ("list", "null", "text")]
    return whole + [Change(file, path, kind) for path in keys_in(document, deep=deep) for kind in VALUES]


def apply(where: Path, change: Change) -> bytes:
    """Make the change; the bytes that the file had."""
    file = where / change.file
    before = file.read_bytes()
    if change.path and file.suffix in WEIGHTS:
        _with_tensor_changed(file, change)
    elif change.path:
        document = json.loads(before)
        inner = document
        for key in change.path[:-1]:
            inner = inner[key]
        value = VALUES[change.kind]
        if value is ABSENT:
            del inner[change.path[-1]]
        else:
            inner[change.path[-1]] = copy.deepcopy(value)
        file.write_text(json.dumps(document), "utf-8")
    elif change.kind == "absent":
        file.unlink()
    else:
        contents = {"empty": b"", "cut off": before[: len(before) // 2], "garbage": b"\x00\xff{]" * 9}
        contents |= {"list": b"[1, 2]", "null": b"null", "text": b'"many"'}
        file.write_bytes(contents[change.kind])
    return before


@contextmanager
def limits() -> Iterator[None]:
    """No minutes, no gigabytes: a loader that needs them is stopped by an error that is no Mistake."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"took more than {SECONDS} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, hard))
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def faults(where: Path, load: Callable[[Path], object], changes: list[Change]) -> list[str]:
    """Changes after which `load` neither loads nor raises a Mistake in sentences, with what it does."""
    wrong = []
    for change in changes:
        before = apply(where, change)
        try:
            with limits():
                load(where)
        except Mistake as mistake:
            if len(mistake.what) < 15 or not mistake.what.endswith("."):
                wrong.append(f"{change}: no sentence: {mistake}")
        except BaseException as error:
            wrong.append(f"{change}: {type(error).__name__}: {str(error)[:200]}")
        finally:
            (where / change.file).write_bytes(before)
    return wrong


def sample(changes: list[Change], count: int, seed: int = 0) -> list[Change]:
    """Some of the changes, the same ones each time."""
    return random.Random(seed).sample(changes, min(count, len(changes)))
