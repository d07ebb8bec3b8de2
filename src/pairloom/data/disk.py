"""Writing to a user's disk: whole files or nothing, never over a file that is not ours to replace.

Does not know: pairs, formats.
"""

from __future__ import annotations

import errno
import filecmp
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from pairloom.errors import Mistake

REASONS = {
    errno.ENOSPC: (
        "The disk is full.",
        "Make room and run the same command again: finished shards are kept.",
    ),
    errno.EDQUOT: ("Your disk quota is used up.", "Make room and run the same command again."),
    errno.EROFS: ("The disk is read-only.", "Choose another output folder."),
    errno.EACCES: ("You may not write there.", "Choose another output folder or change its permissions."),
    errno.EPERM: ("You may not write there.", "Choose another output folder or change its permissions."),
    errno.ENOTDIR: ("A part of the path is a file, not a folder.", "Choose another output folder."),
    errno.EEXIST: ("A part of the path is a file, not a folder.", "Choose another output folder."),
    errno.ENAMETOOLONG: (
        "The name is too long for this disk.",
        "Choose an output folder with a shorter path.",
    ),
}


@contextmanager
def atomic_write(path: Path, replace: bool = False) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path` whole (temporary in the same folder, fsync, rename) or not at all.

    Where `path` exists, the same bytes are fine (a shard written again); others raise Mistake unless `replace`.
    The temporary's name is fixed, so that a run after a kill writes over the leftover of the last.
    """
    part = temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _settle(part, path, replace)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            os.unlink(part)


def json_bytes(value: Any) -> bytes:
    """A JSON document as UTF-8. Bytes of a path that are not UTF-8 are escapes in it, and so the path can be read back."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def readable(name: str) -> str:
    """A path of any bytes as text that can be written anywhere (not for opening the file)."""
    return os.fsencode(name).decode("utf-8", "replace")


def write_together(files: Iterable[tuple[Path, bytes]]) -> None:
    """Many small files as `atomic_write` makes them, but waiting for the disk once for all: none is renamed before.

    Asked side by side, a disk commits many files at once: 1,000 took 0.2 s where one after the other took 5.5 s.
    """
    paths: list[Path] = []
    try:
        for path, data in files:
            paths.append(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary(path).write_bytes(data)
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(_sync, map(temporary, paths)))
        for path in paths:
            _settle(temporary(path), path, replace=False)
        for folder in {path.parent for path in paths}:
            sync_folder(folder)
    except OSError as error:
        raise unwritable(paths[-1] if paths else Path(error.filename or "?"), error) from error
    finally:
        for path in paths:
            with suppress(OSError):
                os.unlink(temporary(path))


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _settle(part: Path, path: Path, replace: bool) -> None:
    if not replace and path.exists():
        if not same_file(part, path):
            raise taken(path)
        os.unlink(part)
    else:
        os.replace(part, path)


def temporary(path: Path) -> Path:
    """Where the bytes of `path` lie until they are whole: hidden, beside it, the same name each time."""
    name = path.name
    if len(os.fsencode(name)) > 240:  # a name may have 255 bytes on most disks
        name = hashlib.blake2b(os.fsencode(name), digest_size=10).hexdigest()
    return path.with_name(f".{name}.part")


def unwritable(path: Path, error: OSError) -> Mistake:
    """The Mistake for an OSError met while writing `path`."""
    number = errno.ENOSPC if "requested and" in str(error) else error.errno or 0  # numpy counts what it wrote
    why, do = REASONS.get(number, (error.strerror or str(error), "Choose another output folder."))
    return Mistake(f"{path} cannot be written.", why, do)


def taken(path: Path) -> Mistake:
    """The Mistake for a file that stands where another one should be written."""
    return Mistake(f"{path} exists already.", "Nothing is written over it.", "Choose an empty output folder.")


def same_file(one: Path, other: Path) -> bool:
    """The same inode or the same bytes."""
    return other.is_file() and (os.path.samefile(one, other) or filecmp.cmp(one, other, shallow=False))


def sync_folder(path: Path) -> None:
    """Make renames in a folder survive a power cut, where the system can."""
    with suppress(OSError):  # some systems cannot open folders; their renames are durable in their own way
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def link(source: Path, target: Path) -> bool:
    """An unchanged file in its new place by a hard link; False where the disk allows none. Never writes over a file."""
    if target.exists():
        if not same_file(source, target):
            raise taken(target)
        return True
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(os.path.realpath(source), target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT):
            raise unwritable(target, error) from error
        return False
    return True


def check_output(out: Path, source: Path) -> None:
    """Mistake where the output folder is the set itself, lies inside it, or is where the set's own file lies; and where its
    path is not UTF-8, which parquet files need."""
    if readable(str(out)) != str(out):
        why = "Tables cannot be written below a folder whose name is not UTF-8."
        raise Mistake(
            f"{out} cannot be the output.", why, "Choose another --out, or name it from inside that folder."
        )
    inner, outer = out.resolve(), source.resolve()
    outer = outer if outer.is_dir() else outer.parent
    if inner == outer or (source.is_dir() and inner.is_relative_to(outer)):
        why = "It lies in the set that is read: the next run would read its own output."
        raise Mistake(f"{out} cannot be the output.", why, "Choose a folder outside the set.")
