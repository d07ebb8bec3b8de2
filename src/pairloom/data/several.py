"""Sets of several files, and patterns of names: "{00000..00009}.tar", "*.tar", a list of paths.

Does not know: how any one format lies on disk.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from pairloom.data.disk import readable
from pairloom.data.formats.folder_text import below
from pairloom.data.shards import ColumnNames, PairSet, open_set
from pairloom.errors import Mistake

Paths: TypeAlias = str | Path | Sequence[str | Path]
MOST = 100_000  # names that a pattern may stand for
_BRACES = re.compile(r"\{([^{}]*(?:,[^{}]*)+|-?\d+\.\.-?\d+)\}")


def open_sets(where: Paths, format: str | None = None, columns: ColumnNames = ColumnNames()) -> PairSet:
    """The set at a path, at all paths that a pattern stands for, or at several paths, which become one set.

    Mistake where nothing fits a pattern, where paths are of different formats, or where one lies in another.
    """
    named = [where] if isinstance(where, (str, Path)) else list(where)
    paths = list(dict.fromkeys(path for one in named for path in expanded(one)))
    if not paths:
        raise Mistake("No set was named.", "The list of paths is empty.", "Give a folder or a file.")
    if len(paths) == 1:
        return open_set(paths[0], format, columns)
    return _joined(paths, [open_set(path, format, columns) for path in paths])


def open_again(facts: Mapping[str, Any]) -> PairSet:
    """The set that a run names in its facts (`PairSet.facts`)."""
    columns = ColumnNames(facts.get("image_column", ""), facts.get("text_column", ""))
    paths: list[str] = [os.path.join(facts["path"], name) for name in facts.get("files", ())]
    return open_sets(paths or facts["path"], facts["format"], columns)


def expanded(path: str | Path) -> list[Path]:
    """The paths that a pattern stands for: braces as in a shell, then *, ? and [] by what is there, in order; a path that exists is
    no pattern."""
    if os.path.exists(path) or not re.search(r"[*?\[{]", str(path)):
        return [Path(path)]
    paths: list[Path] = []
    for name in _braced(str(path)):
        fitting = (
            sorted(glob.glob(name)) if re.search(r"[*?\[]", name) and not os.path.exists(name) else [name]
        )
        paths += map(Path, fitting)
    absent = next((one for one in paths if not one.exists()), None)
    if absent is not None:
        raise Mistake(
            f"There is nothing at {absent}.", f"The pattern {path} stands for it.", "Check the spelling."
        )
    if not paths:
        raise Mistake(f"Nothing fits {path}.", "It is read as a pattern of names.", "Check the spelling.")
    return paths


def _braced(text: str) -> list[str]:
    """A text with braces as the texts that it stands for: {a,b}, and {08..11}, which keeps its zeros."""
    match = _BRACES.search(text)
    if match is None:
        return [text]
    if "," in match[1]:
        parts = match[1].split(",")
    else:
        low, high = match[1].split("..")
        if abs(int(high) - int(low)) >= MOST:
            raise Mistake(
                f"{text} stands for too many names.", f"At most {MOST:,} are read.", "Give the folder."
            )
        step = 1 if int(low) <= int(high) else -1
        width = max(len(low), len(high)) if "0" in (low[:1], high[:1]) else 0
        parts = [f"{number:0{width}d}" for number in range(int(low), int(high) + step, step)]
    return [one for part in parts for one in _braced(text[: match.start()] + part + text[match.end() :])]


def _joined(paths: list[Path], sets: list[PairSet]) -> PairSet:
    """Several sets as one, below the folder that holds all: as if that folder held nothing else."""
    formats = {each.format for each in sets}
    if len(formats) > 1:
        shown = ", ".join(f"{readable(str(path))} ({each.format})" for path, each in zip(paths[:4], sets))
        raise Mistake(
            "The paths are sets of different formats.", shown, "Check each, or name the format with --format."
        )
    real = {path.resolve() for path in paths}
    for path in sorted(real):
        if above := real.intersection(path.parents):
            raise Mistake(
                f"{path} lies in {min(above)}.", "Its pairs would be read twice.", "Name one of the two."
            )
    roots = [shard.root.resolve() for each in sets for shard in each.shards]
    base = Path(os.path.commonpath(roots))
    shards = []
    for each in sets:
        for shard in each.shards:
            inside = os.path.relpath(shard.root.resolve(), base)
            before = "" if inside == "." else quote(readable(inside + "/"), safe=" ()[]+,;=@!~&'$-_.")
            shard = replace(shard, root=shard.root.resolve(), file=shard.file.resolve())
            # each pair is a file of its own, or the shard's file holds them
            moved = below(shard, base) if shard.file == shard.root else replace(shard, root=base)
            shards.append(replace(moved, name=before + shard.name))
    notes = tuple(dict.fromkeys(note for each in sets for note in each.notes if "was not read" not in note))
    files = tuple(os.path.relpath(path.resolve(), base) for path in paths)
    return PairSet(base, sets[0].format, tuple(shards), sets[0].columns, notes, files)
