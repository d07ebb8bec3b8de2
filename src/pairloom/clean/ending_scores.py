"""Scores of texts by their endings, and of the same texts cut at a random place, shard by shard: is a text cut off? Step 3 of `clean`.

It needs no picture and no judge: what endings the set has is learnt from the texts that planted mismatches are drawn from, in
every worker anew. Does not know: thresholds, decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pairloom.clean.folds import fold_of
from pairloom.clean.rows import doubted_texts, read_donors, read_part
from pairloom.clean.scoring import PLANTED, write_scores
from pairloom.data.pair import seed_of
from pairloom.data.shards import Shard
from pairloom.regression.endings import Endings, cut_text

FOLDS = 5


@dataclass(frozen=True)
class EndingTask:
    """Task of scoring the endings of one shard's texts. scores: folder of the parts with the texts; folder: for the result."""

    work: Path
    shard: Shard
    scores: Path
    folder: Path

    @property
    def part(self) -> Path:
        return self.folder / f"{self.shard.name}.parquet"


def score_endings(task: EndingTask) -> int:
    """Score the endings of a shard's texts, and of each text cut at a random place; the part on disk is the commit mark."""
    if task.part.exists():
        return pq.read_metadata(task.part).num_rows
    known = read_part(task.scores, task.shard.name, ["row", "text_id", "text"])
    keys = read_part(task.work / "rows", task.shard.name, ["image_key"]).column("image_key").to_pylist()
    doubted = doubted_texts(task.work, task.shard.name)  # what describes nothing is neither cut nor whole
    requests = [
        (row, at, text)
        for row, at, text in zip(*(column.to_pylist() for column in known.columns))
        if at != PLANTED and (row, at) not in doubted
    ]
    planted = [(row, PLANTED, cut_text(text, seed_of(keys[row], "cut", text))) for row, _, text in requests]
    requests += [(row, at, text) for row, at, text in planted if text is not None]
    rows, ids, texts = ([request[column] for request in requests] for column in range(3))
    endings = learnt_endings(task.work)
    scores = np.full(len(texts), np.nan)
    if endings is not None and texts:
        scores = endings.scores(texts, _folds([keys[row] for row in rows]))
    write_scores(task.part, rows, ids, texts, scores)
    return len(requests)


def learnt_endings(work: Path) -> Endings | None:
    """Endings of the set's texts; None where it has too few."""
    file = work / "donors.parquet"
    return _learnt(work, file.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _learnt(work: Path, _: int) -> Endings | None:
    donors = read_donors(work)
    seeds = [seed_of(key, "cut to learn", text) for key, text in donors]
    return Endings.learn([text for _, text in donors], _folds([key for key, _ in donors]), seeds)


def _folds(keys: Sequence[str]) -> np.ndarray:
    return np.array([fold_of(key, FOLDS) for key in keys], np.int64)
