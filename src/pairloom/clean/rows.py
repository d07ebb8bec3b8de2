"""Rows: the audited set as the later steps see it. One row per pair, in the order of the shards, pictures as pixels.

Does not know: where pictures came from, models, decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.clean.check import TEXTWISE, Findings
from pairloom.clean.faults import FAULTS
from pairloom.data.disk import atomic_write
from pairloom.data.pair import seed_of

DONORS = 20_000  # texts that planted mismatches are drawn from: a sample, so that memory stays small


@dataclass(frozen=True)
class Rows:
    """The audited pairs of a set. first [shards + 1]: shard s has the rows first[s]:first[s + 1]."""

    work: Path
    shards: tuple[str, ...]
    first: np.ndarray
    table: pa.Table

    def __len__(self) -> int:
        return len(self.table)

    def column(self, name: str) -> list[Any]:
        return self.table.column(name).to_pylist()

    @cached_property
    def texts(self) -> list[list[str]]:
        return self.column("texts")

    @cached_property
    def image_keys(self) -> list[str]:
        return self.column("image_key")

    @cached_property
    def image_faults(self) -> list[list[str]]:
        return self.column("image_faults")

    @cached_property
    def text_faults(self) -> list[list[list[str]]]:
        return self.column("text_faults")

    @cached_property
    def pixels(self) -> np.ndarray:
        """uint8 [n size size 3], memory-mapped."""
        return np.load(self.work / "pixels.npy", mmap_mode="r")

    @cached_property
    def usable(self) -> np.ndarray:
        """[n] bool: the picture can be read and is worth reading."""
        return np.array([not _bad(found) for found in self.image_faults], bool)

    def judged(self, row: int) -> list[int]:
        """The texts of a row that no rule drops: what a judge looks at."""
        return (
            [at for at, found in enumerate(self.text_faults[row]) if not _bad(found)]
            if self.usable[row]
            else []
        )

    def of_shard(self, index: int) -> range:
        return range(int(self.first[index]), int(self.first[index + 1]))


def _bad(codes: Iterable[str]) -> bool:
    return any(FAULTS[code].severity == "bad" for code in codes)


def gather(work: Path, shards: Sequence[str], findings: Findings) -> None:
    """Join the audit's parts into rows.parquet and pixels.npy, with the faults that only show across shards."""
    if (work / "rows.parquet").exists():
        return
    tables = [pq.read_table(work / "audit" / f"{name}.parquet") for name in shards]
    table = pa.concat_tables(tables)
    image_faults, text_faults = (
        table.column("image_faults").to_pylist(),
        table.column("text_faults").to_pylist(),
    )
    for code, indices in findings.pairwise.items():
        for row in indices.tolist():
            image_faults[row].append(code)
    owners = [(row, at) for row, found in enumerate(text_faults) for at in range(len(found))]
    for code in TEXTWISE:
        for index in findings.textwise[code].tolist():
            row, at = owners[index]
            text_faults[row][at].append(code)
    table = table.set_column(
        table.schema.get_field_index("image_faults"),
        "image_faults",
        pa.array(image_faults, pa.list_(pa.string())),
    )
    table = table.set_column(
        table.schema.get_field_index("text_faults"),
        "text_faults",
        pa.array(text_faults, pa.list_(pa.list_(pa.string()))),
    )
    table = table.append_column(
        "shard", pa.array(np.repeat(np.arange(len(shards)), [len(part) for part in tables]), pa.int32())
    )
    _join_pixels(work, shards, len(table))
    with atomic_write(work / "rows.parquet") as file:
        pq.write_table(table, file)


def _join_pixels(work: Path, shards: Sequence[str], total: int) -> None:
    parts = [np.load(work / "audit" / f"{name}.npy", mmap_mode="r") for name in shards]
    with atomic_write(work / "pixels.npy") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (total, *parts[0].shape[1:])}
        )
        for part in parts:
            file.write(part.tobytes())


def load(work: Path, shards: Sequence[str]) -> Rows:
    """The gathered rows."""
    table = pq.read_table(work / "rows.parquet")
    counts = np.bincount(table.column("shard").to_numpy(), minlength=len(shards))
    return Rows(work, tuple(shards), np.concatenate([[0], np.cumsum(counts)]), table)


def plant(rows: Rows, times: int) -> Iterator[tuple[int, str]]:
    """Planted mismatches: (row, a text of another picture), `times` for every row that is judged.

    The donor is drawn by the pair's key, so that it is the same in every run and on every machine. A text that the row
    has itself, or that stands on the same picture, is passed over.
    """
    judged = [(row, rows.judged(row)) for row in range(len(rows))]
    donors = [
        (seed_of(rows.image_keys[row], rows.texts[row][at]), row, at) for row, found in judged for at in found
    ]
    donors = sorted(donors)[:DONORS]
    if not donors:
        return
    for row, found in judged:
        if not found:
            continue
        own = {text.strip().lower() for text in rows.texts[row]}
        for time in range(times):
            start = seed_of(rows.image_keys[row], "planted", time)
            for step in range(min(len(donors), 50)):
                _, other, at = donors[(start + step * 7919) % len(donors)]
                text = rows.texts[other][at]
                if rows.image_keys[other] != rows.image_keys[row] and text.strip().lower() not in own:
                    yield row, text
                    break
