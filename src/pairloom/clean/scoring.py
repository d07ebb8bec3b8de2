"""Scores of the texts of a set and of planted mismatches by a judge, shard by shard. Step 2 of `clean`.

Does not know: thresholds, decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pairloom.clean.audited_shard import AuditedShard
from pairloom.clean.picture_source import CrossFitted, PairJudge
from pairloom.clean.rows import SCORED, plant, read_donors, read_part
from pairloom.data.disk import atomic_write
from pairloom.data.shards import Shard

SCHEMA = pa.schema(
    [("row", pa.int64()), ("text_id", pa.int32()), ("text", pa.string()), ("score", pa.float64())]
)
PLANTED = -1  # the text_id of a planted mismatch
TIMES = 2  # planted mismatches for each pair


@dataclass(frozen=True)
class ScoreTask:
    """Task of scoring one shard. folder: of the round, for the scores; planted: mismatches for each pair."""

    work: Path
    shard: Shard
    folder: Path
    judge: PairJudge
    planted: int = TIMES

    @property
    def part(self) -> Path:
        return self.folder / "scores" / f"{self.shard.name}.parquet"


def score_shard(task: ScoreTask) -> int:
    """Score the shard's own texts and its planted mismatches; the part on disk is the commit mark."""
    if task.part.exists():
        return pq.read_metadata(task.part).num_rows
    part = read_part(task.work / "rows", task.shard.name, ["image_key", "texts", "judged", SCORED])
    columns = (part.column(name).to_pylist() for name in ("judged", SCORED))
    requests = [
        (row, at, text)
        for row, (judged, texts) in enumerate(zip(*columns))
        for at, text in zip(judged, texts)
    ]
    donors = read_donors(task.work) if task.planted else []
    requests += [
        (row, PLANTED, text) for row, text in plant(part, donors, task.planted, fold_function(task.judge))
    ]
    rows, ids = [row for row, _, _ in requests], [at for _, at, _ in requests]
    texts = [text for _, _, text in requests]
    scores = task.judge.score(AuditedShard(task.work, task.shard), rows, texts) if rows else np.zeros(0)
    write_scores(task.part, rows, ids, texts, scores)
    return len(requests)


def fold_function(judge: PairJudge) -> Callable[[str], int]:
    """The function image_key -> fold of a judge; one that is not cross-fitted has a single fold."""
    return judge.fold_of if isinstance(judge, CrossFitted) else lambda key: 0


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


def read_scores(
    parts: Path, shards: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Read the finite scores of all own texts [n] and of all planted mismatches [m], for a calibration, and the picture of each
    own text [n], since the texts of one picture are often wrong together. parts: the folder of the shards' parts."""
    own, planted, owner, first = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, np.int64)], 0
    for shard in shards:
        table = read_part(parts, shard, ["row", "text_id", "score"])
        rows, ids, scores = (table.column(name).to_numpy() for name in ("row", "text_id", "score"))
        finite = np.isfinite(scores)
        mine, theirs = finite & (ids != PLANTED), finite & (ids == PLANTED)
        own.append(scores[mine])
        planted.append(scores[theirs])
        owner.append(rows[mine] + first)
        first += int(rows.max()) + 1 if len(rows) else 0
    return np.concatenate(own), np.concatenate(planted), np.concatenate(owner)
