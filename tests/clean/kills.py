"""Kills: a process that ends without a word before a change of the disk, and what lies on the disk at every such moment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

CHANGES = (
    "replace",
    "link",
    "unlink",
    "mkdir",
    "rmdir",
)  # the system calls that change what lies on the disk


def files(root: Path | str) -> dict[str, bytes]:
    """The content of every file below a folder."""
    where = Path(root)
    return {
        str(path.relative_to(where)): path.read_bytes() for path in sorted(where.rglob("*")) if path.is_file()
    }


def die_at(step: int, work: Callable[[], object]) -> int:
    """Do some work in a process that ends before its `step`-th change of the disk. Its exit code."""
    child = os.fork()
    if child == 0:
        left = [step]

        def before() -> None:
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)

        for name in CHANGES:
            setattr(os, name, _after(before, getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0 if left[0] >= 0 else 9)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def states(folder: Path, work: Callable[[], object]) -> list[Path]:
    """Do some work once, and copy a folder before each change of the disk to folder-0, folder-1, ...: what a kill at that moment
    would leave. A state that equals the one before is left out; one in which there is no folder yet has no copy."""
    copies: list[Path] = []
    busy, last = [False], [object()]

    def before() -> None:
        if busy[0]:
            return
        busy[0] = True
        exists = folder.exists()
        state = (
            exists,
            [(path, path.read_bytes() if path.is_file() else b"") for path in sorted(folder.rglob("*"))],
        )
        if state != last[0]:
            copies.append(folder.with_name(f"{folder.name}-{len(copies)}"))
            if exists:
                shutil.copytree(folder, copies[-1])
            last[0] = state
        busy[0] = False

    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, _after(before, getattr(os, name)))
        work()
    return copies


def _after(before: Callable[[], None], real: Callable[..., object]) -> Callable[..., object]:
    def call(*args: object, **kwargs: object) -> object:
        before()
        return real(*args, **kwargs)

    return call
