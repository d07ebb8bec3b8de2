"""One file written by many shards: each writes its part, `merge` joins them. Does not know: what stands in a part.

Parts lie in OUT/.parts as JSON lines or parquet. A merge that was cut short can be run again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pairloom.data.disk import atomic_write
from pairloom.errors import Mistake

PARTS = ".parts"


def target(shard: str, default: str) -> tuple[str, int]:
    """The file that a shard belongs to and its place in it: "val.json-00003" -> ("val.json", 3)."""
    match = re.fullmatch(r"(?:(.+\.\w+)-)?(\d+)", shard)
    if not match:
        raise ValueError(f"'{shard}' is no shard's name: NAME.SUFFIX-NUMBER or NUMBER")
    return unquote(match[1] or default), int(match[2])


def part(out: Path, shard: str, suffix: str = ".jsonl") -> Path:
    """Where a shard's part lies."""
    return out / PARTS / (shard + suffix)


def write_lines(out: Path, shard: str, rows: list[dict[str, Any]]) -> None:
    """A shard's rows as JSON lines: written over where the shard is done again."""
    with atomic_write(part(out, shard), replace=True) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n")


def in_order(row: Mapping[str, Any], order: Iterable[str]) -> dict[str, Any]:
    """A row with its fields in this order, those that it does not name behind them."""
    return {**{name: row[name] for name in order if name in row}, **row}


def lines(out: Path, shards: list[str]) -> Iterator[dict[str, Any]]:
    """The rows of shards' parts in order, one at a time."""
    for shard in shards:
        with open(part(out, shard), encoding="utf-8") as file:
            yield from map(json.loads, file)


def merge(
    out: Path,
    shards: list[str],
    default: str,
    join: Callable[[Path, list[str]], None],
    suffix: str = ".jsonl",
    is_empty: Callable[[Path], bool] | None = None,
) -> None:
    """`join(file, shards)` once for each file of the shards, then the parts go. is_empty: of a part; a file whose parts all are is
    not written, since readers choke on a split without rows."""
    files: dict[str, list[tuple[int, str]]] = {}
    for shard in shards:
        name, number = target(shard, default)
        files.setdefault(name, []).append((number, shard))
    for name, numbered in files.items():
        members = [shard for _, shard in sorted(numbered)]
        parts = [part(out, shard, suffix) for shard in members]
        left = [path for path in parts if path.exists()]  # not all: the clearing up was cut short
        nothing = is_empty is not None and all(map(is_empty, left))
        if len(left) < len(parts) and not nothing and not (out / name).exists():
            gone = next(path.stem for path in parts if path not in left)
            raise Mistake(
                f"{out / name} cannot be put together.", f"The part {gone} was never written.",
                "Write it again; finished shards are kept.",
            )  # fmt: skip
        if len(left) == len(parts) and not nothing:
            join(out / name, members)
        for path in parts:
            path.unlink(missing_ok=True)
    with suppress(OSError):
        (out / PARTS).rmdir()


def write_array(file: Any, rows: Iterator[dict[str, Any]]) -> None:
    """Rows as one JSON array, a row a line."""
    file.write(b"[")
    for number, row in enumerate(rows):
        file.write((b",\n" if number else b"\n") + json.dumps(row, ensure_ascii=False).encode("utf-8"))
    file.write(b"\n]")
