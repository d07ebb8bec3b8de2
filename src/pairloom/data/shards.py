"""Sets and their shards: sniff a set, list its shards, iterate its pairs, write a set.

Does not know: how any one format lies on disk (that is `formats/NAME.py`), pixels, tensors.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from pairloom import registry
from pairloom.data.pair import Pair
from pairloom.errors import Mistake

SIZE = 1000  # pairs in a shard where the format itself does not say


@dataclass(frozen=True)
class ColumnNames:
    """Names of the columns of a table (of a row's fields, in JSON) that hold pictures and texts; "" for those that sets use."""

    image: str = ""
    text: str = ""


@dataclass(frozen=True)
class Shard:
    """One unit of work. Small, and enough for a worker process to read it.

    name: file-name-safe, from a stable position or the tar's own name; the same in every run.
    format: the module of `data/formats` that reads it.
    root: the folder that names in the set are relative to.
    file: the file that holds it (the set's folder where each pair is a file of its own).
    start, stop: the span of the file, in the format's own unit (bytes, rows, positions); 0, 0 is all of it.
    part: what else the format needs to find its pairs again.
    columns: those that a user named.
    """

    name: str
    format: str
    root: Path
    file: Path
    start: int = 0
    stop: int = 0
    part: str = ""
    columns: ColumnNames = ColumnNames()


@dataclass(frozen=True)
class PairSet:
    """A set on disk: its path, its format's name and its shards. Nothing of the pairs is in memory.

    columns: those that a user named. notes: what lies there and was not read, and what had to be guessed. files: where only some files
    or folders below the path are the set, these, relative to it.
    """

    path: Path
    format: str
    shards: tuple[Shard, ...]
    columns: ColumnNames = ColumnNames()
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[Path, ...]:
        """The folders and files that are read."""
        return tuple(self.path / name for name in self.files) or (self.path,)

    def facts(self) -> dict[str, Any]:
        """What a run keeps to open the set again (`several.open_again`)."""
        known = {"path": str(self.path), "format": self.format}
        named = {"image_column": self.columns.image, "text_column": self.columns.text}
        return {**known, **({"files": list(self.files)} if self.files else {}), **named}

    def pairs(self) -> Iterator[Pair]:
        """Every pair of every shard in order, streaming; broken pairs carry a `problem`."""
        for shard in self.shards:
            yield from read(shard)


def open_set(path: Path | str, format: str | None = None, columns: ColumnNames = ColumnNames()) -> PairSet:
    """The set at a folder or file; its format is sniffed by content unless named. columns: where a table's names are not known.

    Raises Mistake where there is nothing, nothing usable, several sets, or a file too broken to list.
    """
    from pairloom.data.formats import _files, _hub

    path = Path(path)
    if not path.exists():
        raise _absent(path)
    path = _hub.snapshot(path)
    if path.is_dir() and not os.listdir(path):
        raise Mistake(
            f"The folder {path} is empty.", "A set needs images with texts.", "Give another folder."
        )
    with _files.unchanging():
        return _opened(path, format, columns)


def _opened(path: Path, format: str | None, columns: ColumnNames) -> PairSet:
    from pairloom.data.formats import _seen

    try:
        name = format or _sniff(path, columns)
        shards = tuple(replace(shard, columns=columns) for shard in find(name).shards(path, columns))
        if not format:
            _seen.demand_whole(path, name, shards)
        notes = _seen.notes(path, shards, columns)
    except OSError as error:
        raise Mistake(f"{error.filename or path} cannot be read.", error.strerror or str(error)) from error
    if not shards:
        seen = _seen.description(path)
        raise Mistake(
            f"{path} holds no pairs.", f"It was read as: {find(name).CLAIM}.\n{seen}", "Give another path."
        )
    return PairSet(path, name, shards, columns, notes)


def _absent(path: Path) -> Mistake:
    if re.search(r"[*?{]", path.name):
        why = "A pattern of names is no set."
        return Mistake(f"There is nothing at {path}.", why, f"Give the folder of the files: {path.parent}")
    return Mistake(f"There is nothing at {path}.", "The path does not exist.", "Check the spelling.")


def description(path: Path) -> str:
    """What was seen at a path, in words: kinds of files, and what its data files hold."""
    from pairloom.data.formats import _seen

    return _seen.description(path)


def find(format: str) -> ModuleType:
    """The module of a format by name. An unknown name is a Mistake that names the nearest."""
    return registry.find("data.formats", format)


def _sniff(path: Path, columns: ColumnNames) -> str:
    from pairloom.data.formats import _seen

    names = registry.names("data.formats")
    fits = [name for name in names if find(name).sniff(path, columns)]
    if len(fits) == 1:
        return fits[0]
    known = "".join(f"\n  {name}: {find(name).CLAIM}" for name in names)
    if fits:
        raise Mistake(
            f"{path} fits several formats: {', '.join(fits)}.", "", f"Say which with format={fits[0]}."
        )
    raise Mistake(
        f"{path} is not a set of image-text pairs that pairloom knows.",
        _seen.description(path),
        f"Known:{known}",
    )


def read(shard: Shard) -> Iterator[Pair]:
    """The pairs of a shard, streaming. A file that is gone or cannot be read is a Mistake that names it."""
    try:
        yield from find(shard.format).read(shard)
    except OSError as error:
        file = error.filename or shard.file
        raise Mistake(
            f"{file} cannot be read.", error.strerror or str(error), "Is the set still there?"
        ) from error


def save_set(pairs: Iterable[Pair], out: Path | str, format: str, size: int = SIZE) -> PairSet:
    """Write pairs as a new set of a format, `size` pairs to a shard, and open it."""
    out, module = Path(out), find(format)
    waiting = iter(pairs)
    names: list[str] = []
    while chunk := list(islice(waiting, size)):
        names.append(f"{len(names):05d}")
        module.write(out, names[-1], chunk)
    module.finish(out, names)
    return open_set(out, format)
