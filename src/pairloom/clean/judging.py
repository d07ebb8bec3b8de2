"""Judge every text of a set and the planted mismatches, shard by shard. Step 2 of `clean`.

A judge is "self" (the cross-fitted models of `selfjudge`, on the audit's pixels) or any model folder (on the pictures
themselves). Does not know: thresholds, decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pairloom import verbs
from pairloom.clean import rows as audited
from pairloom.clean import selfjudge
from pairloom.data.disk import atomic_write
from pairloom.data.pixels import Unreadable
from pairloom.data.shards import Shard
from pairloom.data.shards import read as read_shard
from pairloom.runtime import Speed
from pairloom.tasks.judge import judge

SCHEMA = pa.schema(
    [("row", pa.int64()), ("text_id", pa.int32()), ("text", pa.string()), ("score", pa.float64())]
)
PLANTED = -1  # the text_id of a planted mismatch
GROUP = 32  # pictures looked at together


@runtime_checkable
class Judge(Protocol):
    """Scores (row, text) requests of one shard: higher is better. way: how, in a word."""

    way: str

    def score(self, rows: Sequence[int], texts: Sequence[str]) -> np.ndarray: ...


@dataclass(frozen=True)
class Job:
    """One shard to judge. model: "self" or a model folder; folder: where this round's models and scores lie."""

    work: Path
    shards: tuple[Shard, ...]
    index: int
    folder: Path
    model: str

    @property
    def part(self) -> Path:
        return self.folder / "scores" / f"{self.shards[self.index].name}.parquet"


def load_rows(work: Path, names: tuple[str, ...]) -> audited.Rows:
    """The gathered rows, once per process (and again where they were gathered again)."""
    return _rows(work, names, (work / "rows.parquet").stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _rows(work: Path, names: tuple[str, ...], _: int) -> audited.Rows:
    return audited.load(work, names)


def judge_of(job: Job) -> Judge:
    """The judge that a job names, for the job's shard."""
    names = tuple(shard.name for shard in job.shards)
    rows = load_rows(job.work, names)
    if job.model == "self":
        return selfjudge.Judge(job.folder / "folds", rows.pixels, rows.image_keys)
    return ModelJudge(job.model, job.shards[job.index], int(rows.first[job.index]))


def score_shard(job: Job) -> int:
    """Score the shard's own texts and its planted mismatches; the part on disk is the commit mark."""
    if job.part.exists():
        return pq.read_metadata(job.part).num_rows
    rows = load_rows(job.work, tuple(shard.name for shard in job.shards))
    span = rows.of_shard(job.index)
    asked = [(row, at, rows.texts[row][at]) for row in span for at in rows.judged(row)]
    planted = pq.read_table(
        job.work / "planted.parquet", filters=[("row", ">=", span.start), ("row", "<", span.stop)]
    )
    asked += [(entry["row"], PLANTED, entry["text"]) for entry in planted.to_pylist()]
    scores = (
        judge_of(job).score([row for row, _, _ in asked], [text for _, _, text in asked])
        if asked
        else np.zeros(0)
    )
    write_scores(
        job.part,
        [row for row, _, _ in asked],
        [at for _, at, _ in asked],
        [text for _, _, text in asked],
        scores,
    )
    return len(asked)


def write_scores(
    path: Path, rows: Sequence[int], ids: Sequence[int], texts: Sequence[str], scores: np.ndarray
) -> None:
    """Scores of one shard, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
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


def write_planted(work: Path, rows: audited.Rows, times: int) -> None:
    """Choose the planted mismatches of the whole set, once."""
    path = work / "planted.parquet"
    if not path.exists():
        made = list(audited.plant(rows, times))
        table = pa.table(
            {
                "row": pa.array([row for row, _ in made], pa.int64()),
                "text": pa.array([text for _, text in made], pa.string()),
            }
        )
        with atomic_write(path) as file:
            pq.write_table(table, file)


def able(where: str, speed: Speed | None = None) -> list[str]:
    """The ways in which a model can judge, the first being the one that is used. Mistake where there is none."""
    system = _model(where, speed).system
    verbs.demand_way(system)
    return verbs.ways(system)


def can_write(where: str) -> bool:
    """Whether a model can propose captions."""
    return verbs.able(_model(where).system, "caption") is not None


class ModelJudge:
    """Any model that can judge, on the pictures of one shard at the size it wants. Each picture is looked at once.

    speed: of the engine that answers; the model itself without it."""

    def __init__(self, where: str, shard: Shard, first: int, speed: Speed | None = None) -> None:
        self.model, self.speed = _model(where, speed), speed
        self.shard, self.first = shard, first
        self.way = able(where, speed)[0]

    def score(self, rows: Sequence[int], texts: Sequence[str]) -> np.ndarray:
        wanted: dict[int, list[int]] = {}
        for at, row in enumerate(rows):
            wanted.setdefault(row - self.first, []).append(at)
        scores = np.full(len(rows), -np.inf)
        waiting: list[tuple[Any, list[int]]] = []
        for local, pair in enumerate(read_shard(self.shard)):
            if local in wanted:
                try:
                    waiting.append((self._read(pair.image.read()), wanted[local]))
                except (Unreadable, OSError):
                    continue  # the audit read it; if it is gone since, its texts score last
            if len(waiting) == GROUP:
                self._group(waiting, texts, scores)
                waiting = []
        self._group(waiting, texts, scores)
        return scores

    def _read(self, data: bytes) -> Any:
        return self.model.pixels.read(data, scaled=self.speed == "fast")

    @torch.no_grad()
    def _group(self, waiting: list[tuple[Any, list[int]]], texts: Sequence[str], scores: np.ndarray) -> None:
        if not waiting:
            return
        at = [index for _, found in waiting for index in found]
        owner = [place for place, (_, found) in enumerate(waiting) for _ in found]
        batch = self.model.batch(
            [image for image, _ in waiting], [texts[index] for index in at], image_of=owner
        )
        found, _ = judge(self.model.system, batch)
        scores[at] = found.double().numpy()


def _model(where: str, speed: Speed | None = None) -> Any:
    config = Path(where) / "config.json"
    return _loaded(where, speed, config.stat().st_mtime_ns if config.is_file() else 0)


@lru_cache(maxsize=1)
def _loaded(where: str, speed: Speed | None, _: int) -> Any:
    from pairloom.weights import load

    model = load(where)
    return model.at_speed(speed) if speed else model
