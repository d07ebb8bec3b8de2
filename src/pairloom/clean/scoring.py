"""Scores of the texts of a set and of planted mismatches by a judge, shard by shard. Step 2 of `clean`.

Does not know: thresholds, decisions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pairloom.clean.judges import PairJudge, shrunk
from pairloom.clean.rows import LEARN, plant, read_part
from pairloom.data.disk import atomic_write
from pairloom.data.shards import Shard
from pairloom.data.shards import read as read_shard

SCHEMA = pa.schema(
    [("row", pa.int64()), ("text_id", pa.int32()), ("text", pa.string()), ("score", pa.float64())]
)
PLANTED = -1  # the text_id of a planted mismatch
TIMES = 2  # planted mismatches for each pair


@dataclass(frozen=True)
class AuditedShard:
    """Picture source of an audited shard, by row in the shard: the audit's pixels, and the encoded files."""

    work: Path
    shard: Shard

    @cached_property
    def _keys(self) -> list[str]:
        keys: list[str] = self.column("image_key")
        return keys

    def column(self, name: str) -> list[str]:
        """Values of a column of the shard's rows."""
        values: list[str] = read_part(self.work / "rows", self.shard.name, [name]).column(name).to_pylist()
        return values

    @cached_property
    def stored(self) -> NDArray[np.uint8]:
        """The audit's pixels [n S S 3], memory-mapped."""
        pixels: NDArray[np.uint8] = np.load(self.work / "audit" / f"{self.shard.name}.npy", mmap_mode="r")
        return pixels

    def keys(self, rows: Sequence[int]) -> list[str]:
        return [self._keys[row] for row in rows]

    def pixels(self, rows: Sequence[int], size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        if self.stored.shape[1] == size:
            return np.asarray(self.stored[list(rows)]), np.ones(len(rows), bool)
        files = dict(self.encoded(sorted(set(rows))))
        return shrunk((files.get(row) for row in rows), size)

    def encoded(self, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        wanted = set(rows)
        for row, pair in enumerate(read_shard(self.shard)):
            if row in wanted:
                try:
                    data = pair.image.read()
                except OSError:
                    continue  # it was there during the audit, but is gone now
                yield row, data


@dataclass(frozen=True)
class ScoreTask:
    """Task of scoring one shard. folder: of the round, for the scores."""

    work: Path
    shard: Shard
    folder: Path
    judge: PairJudge

    @property
    def part(self) -> Path:
        return self.folder / "scores" / f"{self.shard.name}.parquet"


def score_shard(task: ScoreTask) -> int:
    """Score the shard's own texts and its planted mismatches; the part on disk is the commit mark."""
    if task.part.exists():
        return pq.read_metadata(task.part).num_rows
    part = read_part(task.work / "rows", task.shard.name, ["image_key", "texts", "judged", LEARN])
    columns = (part.column(name).to_pylist() for name in ("judged", LEARN))
    requests = [
        (row, at, text)
        for row, (judged, texts) in enumerate(zip(*columns))
        for at, text in zip(judged, texts)
    ]
    requests += [(row, PLANTED, text) for row, text in plant(part, _donors(task.work), TIMES)]
    rows, ids = [row for row, _, _ in requests], [at for _, at, _ in requests]
    texts = [text for _, _, text in requests]
    scores = task.judge.score(AuditedShard(task.work, task.shard), rows, texts) if rows else np.zeros(0)
    write_scores(task.part, rows, ids, texts, scores)
    return len(requests)


def _donors(work: Path) -> list[tuple[str, str]]:
    file = work / "donors.parquet"
    return _read_donors(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read_donors(file: Path, _: int) -> list[tuple[str, str]]:
    table = pq.read_table(file)
    return list(zip(*(table.column(name).to_pylist() for name in ("image_key", "text"))))


def write_scores(
    path: Path, rows: Sequence[int], ids: Sequence[int], texts: Sequence[str], scores: NDArray[np.float64]
) -> None:
    """Write the scores of one shard, atomically."""
    table = pa.table(
        [
            pa.array(rows, pa.int64()),
            pa.array(ids, pa.int32()),
            pa.array(texts, pa.string()),
            pa.array(scores, pa.float64()),
        ],
        SCHEMA,
    )
    with atomic_write(path) as file:
        pq.write_table(table, file)


def read_scores(folder: Path, shards: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read the finite scores of all own texts [n] and of all planted mismatches [m], for a calibration."""
    own, planted = [np.zeros(0)], [np.zeros(0)]
    for shard in shards:
        table = read_part(folder / "scores", shard, ["text_id", "score"])
        ids, scores = (table.column(name).to_numpy() for name in ("text_id", "score"))
        scores, ids = scores[np.isfinite(scores)], ids[np.isfinite(scores)]
        own.append(scores[ids != PLANTED])
        planted.append(scores[ids == PLANTED])
    return np.concatenate(own), np.concatenate(planted)
