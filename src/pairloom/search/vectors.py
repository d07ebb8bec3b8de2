"""Exact nearest-neighbour search over vectors on disk, memory-mapped.

There are two files with a unit vector a row: `vectors.bf16` is scanned, and candidates are scored again with `vectors.f32`.
Rounding to bf16 changes a cosine by less than a known bound, so every row that could be among the best in fp32 is scored
again, and the result is exact.

M rows, E shared embedding.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import torch
from torch import Tensor

from pairloom.errors import Mistake

COARSE, FINE = "vectors.bf16", "vectors.f32"
HALF_STEP = 2.0**-9  # relative error of rounding to bf16
CHUNK = 1 << 16  # rows scored in full at once
DIGITS = (
    6  # decimals of a score: smaller differences depend on the machine's order of sums, and count as ties
)


class Vectors:
    """The first M vectors of the files in a folder. Mistake where the files are shorter."""

    def __init__(self, folder: Path, rows: int, width: int) -> None:
        self.rows, self.width = rows, width
        self.coarse = _mapped(folder / COARSE, rows, width, torch.bfloat16)
        self.fine = _mapped(folder / FINE, rows, width, torch.float32)

    def top(self, query: Tensor, count: int, dead: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Exact search: rows [n] and cosines [n] of the `count` best, and of all ties with the last; best first, ties by row.

        query [E] of length one. dead: sorted rows that are left out. Fewer rows than `count`: all of them.
        """
        if count < 1 or not self.rows:
            return torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.float64)
        rough = query.bfloat16()
        # the rounding error of the query is known; that of a row, and that of the sum, is at most half a step of its size each
        slack = float((query - rough.float()).norm()) + 2 * HALF_STEP + 1e-4
        cuts = _cuts(self.rows, torch.get_num_threads())

        def scan(span: tuple[int, int]) -> Tensor:
            scores = torch.mv(self.coarse[slice(*span)], rough).float()
            if dead is not None and len(dead):
                low, high = torch.searchsorted(dead, torch.tensor(span)).tolist()
                scores[dead[low:high] - span[0]] = -torch.inf
            return scores

        def rise(scores: Tensor) -> Tensor:
            return scores.topk(min(count, len(scores))).values

        with ThreadPoolExecutor(len(cuts)) as pool:  # bf16 products of one row use one core
            scanned = list(pool.map(scan, cuts))
            best = torch.cat(list(pool.map(rise, scanned)))
            least = best.topk(min(count, len(best))).values[-1] - 2 * slack
            parts = pool.map(
                lambda scores: torch.nonzero((scores >= least) & scores.isfinite())[:, 0], scanned
            )
            near = torch.cat([rows + first for rows, (first, _) in zip(parts, cuts)])
        return best_of(near, self.scores(near, query), count)

    def scores(self, rows: Tensor, query: Tensor) -> Tensor:
        """Cosines [n] of rows [n] with a query [E], fp64 sums of fp32 numbers, rounded to DIGITS decimals."""
        wide = query.double()
        parts = [(self.fine[part].double() * wide).sum(1) for part in rows.split(CHUNK)]
        return torch.cat(parts).mul_(10**DIGITS).round_().div_(10**DIGITS) if parts else wide[:0]


def best_of(rows: Tensor, scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` best of these rows, and all ties with the last; best first, ties by row."""
    rows, back = rows.sort()
    scores = scores[back]
    order = torch.argsort(scores, descending=True, stable=True)
    if len(order) > count:
        order = order[: int((scores >= scores[order[count - 1]]).sum())]
    return rows[order], scores[order]


def write(folder: Path, rows: Sequence[int], vectors: Tensor) -> None:
    """Write unit vectors [n E] to their rows, and flush them to the disk. The files grow as needed."""
    wide = vectors.float().contiguous().cpu()
    for name, data in (
        (COARSE, wide.bfloat16().view(torch.int16).numpy()),
        (FINE, wide.numpy()),
    ):
        handle = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            size = data.shape[1] * data.itemsize
            for first, last in _runs(rows):
                _put(handle, data[first:last].tobytes(), rows[first] * size)
            os.fsync(handle)
        finally:
            os.close(handle)


def _put(handle: int, data: bytes, at: int) -> None:
    """Write all bytes: a single system call may write fewer."""
    view = memoryview(data)
    while view:
        done = os.pwrite(handle, view, at)
        view, at = view[done:], at + done


def _runs(rows: Sequence[int]) -> list[tuple[int, int]]:
    """Spans of neighbouring row numbers."""
    cuts = numpy.flatnonzero(numpy.diff(numpy.asarray(rows, numpy.int64)) != 1) + 1
    edges = [0, *cuts.tolist(), len(rows)]
    return [(first, last) for first, last in zip(edges, edges[1:]) if last > first]


def _mapped(file: Path, rows: int, width: int, kind: torch.dtype) -> Tensor:
    if not rows:
        return torch.empty(0, width, dtype=kind)
    need = rows * width * kind.itemsize
    size = file.stat().st_size if file.is_file() else 0
    if size < need:
        raise Mistake(
            f"{file} is not whole.",
            f"It has {size:,} bytes, {need:,} are needed for {rows:,} pictures.",
            "Index the set again with --restart; your pictures are untouched.",
        )
    return torch.from_file(str(file), shared=False, size=rows * width, dtype=kind).view(rows, width)


def _cuts(rows: int, parts: int) -> list[tuple[int, int]]:
    edges = numpy.linspace(0, rows, max(1, min(parts, rows)) + 1).astype(int).tolist()
    return list(zip(edges, edges[1:]))
